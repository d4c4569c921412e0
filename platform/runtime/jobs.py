"""Work beside the runs, on a queue with workers of its own: callables of a closed list, by dotted path.

As with runs, Redis only wakes a worker: what is to be done is in rows, and whoever owns them enqueues again what is
due and not queued.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from redis.exceptions import RedisError
from rq.queue import Queue
from rq.serializers import JSONSerializer

from runtime.redis_client import redis_client

logger = logging.getLogger(__name__)

QUEUE = "maintenance"


def enqueue(path: str, arguments: Iterable[str]) -> None:
    """One job for each argument. What Redis does not take is for the owner of the rows to bring again."""
    for argument in arguments:
        try:
            queue().enqueue(path, argument, job_id=job_id(path, argument), description=f"{path} {argument}")
        except RedisError:
            logger.warning("job not enqueued", extra={"action": "job_not_enqueued", "job": path})
            return


def not_queued(path: str, arguments: Iterable[str]) -> list[str]:
    """Those no worker has before it; none while Redis is away."""
    wanted = list(arguments)
    if not wanted:
        return []
    try:
        queued = set(queue().job_ids)
    except RedisError:
        return []
    return [argument for argument in wanted if job_id(path, argument) not in queued]


def callable_of(path: str) -> Callable[..., Any]:
    """Raises PermissionError for what is not on the list: an entry in the queue is code to whoever can write one."""
    if path not in settings.JOBS:
        raise PermissionError(f"{path} is not performed here: it is not one of the jobs in the settings.")
    module, _, name = path.rpartition(".")
    return cast(Callable[..., Any], getattr(import_module(module), name))


_half = threading.BoundedSemaphore(1)


def set_slots(slots: int) -> None:
    """How many jobs this process performs at once."""
    global _half
    _half = threading.BoundedSemaphore(max(slots // 2, 1))


@contextmanager
def half_of_the_slots() -> Iterator[bool]:
    """For jobs that people can have in any number. False when such jobs hold half of this process: try it later."""
    half = _half
    is_free = half.acquire(blocking=False)
    try:
        yield is_free
    finally:
        if is_free:
            half.release()


def queue() -> Queue:
    return Queue(QUEUE, connection=redis_client(), default_timeout=-1, serializer=JSONSerializer)


def job_id(path: str, argument: str) -> str:
    return f"{path.rpartition('.')[2]}-{argument}"
