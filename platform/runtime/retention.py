"""Forgetting: threads that nobody has touched for long, with all they left behind.

A thread with a run under way or a tool call that a person still has to settle is never forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.dispatch import Signal
from psycopg import sql
from redis.exceptions import RedisError

from runtime.events import log_key
from runtime.models import ACTIVE, TOOL_TRANSITIONS, Run, RunWebhook, Thread, ToolCall, WebhookStatus
from runtime.redis_client import redis_client

logger = logging.getLogger(__name__)

# LangGraph's tables. Its workers make them, so before the first run there are none.
CHECKPOINT_TABLES = ("checkpoint_writes", "checkpoint_blobs", "checkpoints")

KEEP_VALUES = timedelta(days=7)  # of a webhook that failed

# Sent inside the transaction, before the rows go: threads, a queryset. For whoever keeps count of what is forgotten.
threads_expiring = Signal()


def expired_threads(days: int) -> QuerySet[Thread]:
    """Threads not touched for `days` in which nothing is under way or waits."""
    runs = Run.objects.filter(thread=OuterRef("pk"), status__in=ACTIVE)
    calls = ToolCall.objects.filter(thread=OuterRef("pk"), state__in=TOOL_TRANSITIONS)
    untouched = Thread.objects.filter(updated_at__lt=Now() - timedelta(days=days))
    return untouched.filter(~Exists(runs), ~Exists(calls))


def delete_threads(days: int, *, batch_size: int) -> Iterator[int]:
    """Deletes in batches, each a transaction of its own, and yields the size of each. Stop it at any time."""
    while deleted := _delete_batch(days, batch_size):
        yield deleted


@transaction.atomic
def _delete_batch(days: int, size: int) -> int:
    # Locked against create_run, which locks the thread first: a message that arrives now either keeps its thread
    # or comes too late. `skip_locked`: two cleanups at once share the work.
    oldest = expired_threads(days).order_by("updated_at").select_for_update(skip_locked=True)
    locked = list(oldest.values_list("pk", flat=True)[:size])
    # Read again under the lock: what happened between reading and locking counts.
    thread_ids = list(expired_threads(days).filter(pk__in=locked).values_list("pk", flat=True))
    forget(thread_ids)
    return len(thread_ids)


def forget(thread_ids: list[UUID]) -> None:
    """These threads, whatever they are at. For a transaction that holds them, and knows that nothing is under way."""
    if not thread_ids:
        return
    threads_expiring.send(Thread, threads=Thread.objects.filter(pk__in=thread_ids))
    _delete_checkpoints(thread_ids)
    Thread.objects.filter(pk__in=thread_ids).delete()
    transaction.on_commit(lambda: _delete_logs(thread_ids))


def _delete_checkpoints(thread_ids: list[UUID]) -> None:
    """LangGraph keeps a thread's id as text, and has no foreign key to ours."""
    present = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in CHECKPOINT_TABLES:
            if table in present:
                delete = sql.SQL("DELETE FROM {} WHERE thread_id = ANY(%s)").format(sql.Identifier(table))
                cursor.execute(delete, [[str(thread_id) for thread_id in thread_ids]])


def _delete_logs(thread_ids: list[UUID]) -> None:
    try:
        redis_client().delete(*(log_key(thread_id) for thread_id in thread_ids))
    except RedisError:  # they have an expiry of their own
        logger.warning("logs not deleted", extra={"action": "logs_not_deleted", "threads": len(thread_ids)})


def stale_values() -> QuerySet[RunWebhook]:
    """Failed webhooks that still hold a copy of their run's state, longer than anybody has them tried again."""
    failed = RunWebhook.objects.filter(status=WebhookStatus.FAILED, settled_at__lt=Now() - KEEP_VALUES)
    return failed.filter(values__isnull=False)


def drop_values(*, batch_size: int) -> Iterator[int]:
    """The rows stay: who was told of what, and what came of it."""
    while ids := list(stale_values().values_list("pk", flat=True)[:batch_size]):
        yield stale_values().filter(pk__in=ids).update(values=None)


def expired_sessions() -> QuerySet[Session]:
    return Session.objects.filter(expire_date__lt=Now())


def delete_sessions(*, batch_size: int) -> Iterator[int]:
    while True:
        keys = list(expired_sessions().values_list("pk", flat=True)[:batch_size])
        if not keys:
            return
        yield Session.objects.filter(pk__in=keys).delete()[0]
