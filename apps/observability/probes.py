"""How each part is asked. A probe returns a line for operators, or raises."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import httpx
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from redis.exceptions import RedisError
from rq import Queue, Worker
from runtime import jobs, runs
from runtime.redis_client import redis_client

HEARTBEAT_MAX_AGE = 60.0  # seconds; a worker shows itself every few
MODEL_TIMEOUT = 2.0  # seconds
OPENAI_URL = "https://api.openai.com/v1"


class ProbeFailed(Exception):
    """The part is not as it should be; the message says so to operators."""


def database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            return f"PostgreSQL {cursor.fetchone()[0]}"
    finally:
        connection.close()  # back to the pool: this thread outlives the request


def migrations() -> str:
    try:
        missing = _known_migrations() - set(MigrationRecorder(connection).applied_migrations())
    finally:
        connection.close()
    if missing:
        names = ", ".join(sorted(".".join(key) for key in missing))
        raise ProbeFailed(f"{len(missing)} not applied: {names}. Run manage.py migrate.")
    return "all applied"


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    """Read once: the code of a process doesn't change."""
    return frozenset(MigrationLoader(None).disk_migrations)


def redis() -> str:
    about = redis_client().info("server")
    name = about.get("server_name") or "redis"
    version = about.get(f"{name}_version") or about.get("redis_version")
    return f"{name} {version}"


def workers() -> str:
    """How many workers serve the interactive queue, and how long ago one of them was heard."""
    fresh = _fresh(runs.QUEUE)
    if not fresh:
        raise ProbeFailed(f"no worker for the queue {runs.QUEUE}. Start one: manage.py worker.")
    return _running(fresh)


def notifier() -> str:
    """Whether somebody sends the notifications that wait. Where none do, nobody has to."""
    return _served_if_needed(jobs.QUEUE, "notifications")


def batches() -> str:
    """Whether somebody performs the items of batches that wait. Where none do, nobody has to."""
    return _served_if_needed(runs.BATCH, "items of batches")


def _served_if_needed(queue_name: str, what: str) -> str:
    fresh = _fresh(queue_name)
    if fresh:
        return _running(fresh)
    count = _waiting(queue_name)
    if count:
        raise ProbeFailed(
            f"{count} {what} wait, and no worker is there for the queue {queue_name}. "
            f"Start one: manage.py worker --queue {queue_name}."
        )
    return f"nothing waits; no worker for the queue {queue_name}"


def _fresh(queue_name: str) -> list[float]:
    """Seconds since the last heartbeat of each worker of the queue that is alive."""
    try:
        ages = worker_ages(queue_name)
    except RedisError as error:
        raise ProbeFailed("not known while Redis is away") from error
    return [age for age in ages if age <= HEARTBEAT_MAX_AGE]


def _waiting(queue_name: str) -> int:
    try:
        return int(Queue(queue_name, connection=redis_client()).count)
    except RedisError as error:
        raise ProbeFailed("not known while Redis is away") from error


def _running(ages: list[float]) -> str:
    return f"{len(ages)} running, newest heartbeat {min(ages):.0f} s ago"


def worker_ages(queue_name: str) -> list[float]:
    """Seconds since the last heartbeat of each worker registered for the queue."""
    now = datetime.now(UTC)
    registered = Worker.all(queue=Queue(queue_name, connection=redis_client()))
    return [(now - worker.last_heartbeat).total_seconds() for worker in registered if worker.last_heartbeat]


def model() -> str:
    """Asks for the list of models: it costs nothing and needs the key."""
    base = (settings.OPENAI_BASE_URL or OPENAI_URL).rstrip("/")
    headers = {"Authorization": f"Bearer {settings.OPENAI_API_KEY}"} if settings.OPENAI_API_KEY else {}
    try:
        answer = httpx.get(f"{base}/models", headers=headers, timeout=MODEL_TIMEOUT)
    except httpx.HTTPError as error:
        raise ProbeFailed(f"no answer from {base}: {type(error).__name__}") from error
    return _judged(answer.status_code, base)


def _judged(status: int, base: str) -> str:
    if status in (401, 403):
        raise ProbeFailed(f"{base} refused the key ({status}). Set OPENAI_API_KEY.")
    if status >= 500 or status == 429:
        raise ProbeFailed(f"{base} answers {status}")
    if status != 200:  # gateways without this list exist and work
        return f"{base} answers, without a list of models ({status})"
    return base
