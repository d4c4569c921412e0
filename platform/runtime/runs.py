"""The one door into the engine: create a run, resume one, stop one. Every view, socket, API and command knocks here."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from accounts.models import User
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from runtime import ledger, signals
from runtime.exceptions import MessageTooLong, ThreadBusy, ThreadWaiting
from runtime.models import ACTIVE, UNSETTLED, Message, Role, Run, RunStatus, Thread, ToolCall, ToolState
from runtime.redis_client import redis_client

logger = logging.getLogger(__name__)

# RQ wakes a worker by this path. A string: the web never imports the engine's worker half.
EXECUTE_RUN = "runtime.worker.execute_run"
QUEUE = "interactive"
STOP_CHANNEL = "runs:stop"
RECONCILE_AFTER = timedelta(seconds=2)  # a run this young is on its way to its worker


def send_message(thread: Thread, user: User, text: str, *, when_busy: str = "enqueue") -> Run:
    """A new turn begun by a person's message. Raises MessageTooLong, ThreadWaiting, or ThreadBusy for "reject"."""
    if len(text) > settings.MESSAGE_MAX_CHARS:
        limit = settings.MESSAGE_MAX_CHARS
        raise MessageTooLong(
            _("The message has %(length)s characters; at most %(limit)s are allowed. Shorten it.")
            % {"length": len(text), "limit": limit}
        )
    message = {"role": "user", "content": text, "id": str(uuid4())}
    return create_run(thread, user=user, input={"messages": [message]}, when_busy=when_busy)


@transaction.atomic
def create_run(
    thread: Thread,
    *,
    user: User,
    input: dict[str, Any] | None = None,
    command: dict[str, Any] | None = None,
    when_busy: str = "enqueue",
) -> Run:
    """Writes a pending run, its human messages, and wakes a worker after the commit.

    `when_busy`: "enqueue" lets it wait for its turn, "reject" raises ThreadBusy. New input while a tool call
    waits for a decision raises ThreadWaiting.
    """
    Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
    if command is None and thread.tool_calls.filter(state__in=UNSETTLED).exists():
        raise ThreadWaiting
    if when_busy == "reject" and thread.runs.filter(status__in=ACTIVE).exists():
        raise ThreadBusy
    run_id = uuid4()
    # First of what follows the commit: whoever waits, waits for the worker.
    transaction.on_commit(lambda: enqueue([run_id]))
    waiting = (
        thread.runs.filter(status=RunStatus.WAITING).order_by("-created_at").first() if command else None
    )
    run = Run.objects.create(
        id=run_id,
        thread=thread,
        assistant_id=thread.assistant_id,
        user=user,
        input=input,
        command=command,
        resumes=waiting,
    )
    for message in (input or {}).get("messages", []):
        row = Message.objects.create(
            thread=thread, run=run, role=Role.HUMAN, message_id=message["id"], content=message["content"]
        )
        signals.message_added.send(Message, message=row)
        _name(thread, row.content)
    thread.touch()
    signals.run_changed.send(Run, run=run)
    return run


def _name(thread: Thread, text: str) -> None:
    """An unnamed thread is called after its first message."""
    title = " ".join(text.split())
    Thread.objects.filter(pk=thread.pk, title="").update(
        title=title if len(title) <= 60 else f"{title[:59]}…"
    )


def resume(tool_call: ToolCall) -> Run:
    """The turn that waited for `tool_call` goes on. The decision is in the row; this only wakes the graph."""
    return create_run(
        tool_call.thread, user=tool_call.user, command={"resume": {"tool_call": str(tool_call.pk)}}
    )


def cancel_run(run: Run) -> bool:
    """Stops a run: at once when it is queued, else as soon as its worker hears of it. False when it has ended."""
    with transaction.atomic():
        if run.command is not None and Run.objects.filter(pk=run.pk, status=RunStatus.PENDING).exists():
            return _stop_before_resuming(run)
        queued = Run.objects.filter(pk=run.pk, status=RunStatus.PENDING)
        if queued.update(status=RunStatus.CANCELLED, ended_at=Now(), cancel_requested_at=Now()):
            run.refresh_from_db()
            signals.run_changed.send(Run, run=run)
            return True
        running = Run.objects.filter(pk=run.pk, status=RunStatus.RUNNING)
        is_running = running.exists()
        is_first = running.filter(cancel_requested_at__isnull=True).update(cancel_requested_at=Now())
    if is_first:
        try:
            redis_client().publish(STOP_CHANNEL, str(run.pk))
        except RedisError:
            logger.warning("stop not published", extra={"action": "stop_unpublished", "run_id": str(run.pk)})
    return is_running


def _stop_before_resuming(run: Run) -> bool:
    """What was approved will not run. The resume itself stays: the graph has to hear of it, or it waits for ever."""
    for tool_call in ToolCall.objects.filter(thread=run.thread_id, state=ToolState.APPROVED):
        tool_call.advance(ToolState.CANCELLED, reason="Stopped by the requester.", finished_at=Now())
    return True


def enqueue(run_ids: Iterable[UUID]) -> None:
    """Wakes a worker for each run. What Redis does not take, reconcile() brings again."""
    for run_id in run_ids:
        try:
            queue().enqueue(EXECUTE_RUN, str(run_id), job_id=job_id(run_id), description=f"run {run_id}")
        except RedisError:
            logger.warning("run not enqueued", extra={"action": "run_not_enqueued", "run_id": str(run_id)})


def queue() -> Queue:
    return Queue(QUEUE, connection=redis_client(), default_timeout=-1, serializer=JSONSerializer)


def job_id(run_id: UUID) -> str:
    return f"run-{run_id}"


def reconcile() -> dict[str, int]:
    """Takes back runs whose lease ran out and wakes workers for runs that no queue knows. Safe to repeat."""
    taken_over = _take_over()
    pending = Run.objects.claimable().filter(created_at__lt=Now() - RECONCILE_AFTER)
    forgotten = _not_queued(list(pending.values_list("pk", flat=True)[:500]))
    enqueue(forgotten)
    return {"taken_over": taken_over, "enqueued": len(forgotten)}


def _take_over() -> int:
    """Runs of dead workers go back to pending; one that has killed too many workers ends as an error."""
    expired = Run.objects.filter(status=RunStatus.RUNNING, lease_expires_at__lt=Now())
    for run in expired.filter(cancel_requested_at__isnull=False):
        _end_expired(run, RunStatus.CANCELLED)
    spent = expired.filter(attempt__gte=settings.RUN_MAX_ATTEMPTS + F("drains"))
    for run in spent:
        deaths = run.attempt - run.drains
        error = _("The worker died %(attempts)s times while it ran this. It was given up.") % {
            "attempts": deaths
        }
        _end_expired(run, RunStatus.ERROR, error=error, error_type="WorkerDied")
    return expired.filter(attempt__lt=settings.RUN_MAX_ATTEMPTS + F("drains")).update(
        status=RunStatus.PENDING, lease_expires_at=None, worker=""
    )


@transaction.atomic
def _end_expired(run: Run, status: str, *, error: str = "", error_type: str = "") -> None:
    """Ends a run whose worker is gone. What it had begun is not known; what was approved does not run."""
    mine = Run.objects.filter(
        pk=run.pk, attempt=run.attempt, status=RunStatus.RUNNING, lease_expires_at__lt=Now()
    )
    if not mine.select_for_update(no_key=True).exists():
        return
    ledger.abandon(run)
    run.finish(status, error=error, error_type=error_type)


def _not_queued(run_ids: list[UUID]) -> list[UUID]:
    if not run_ids:
        return []
    try:
        waiting = queue()
        queued = set(waiting.job_ids) | set(waiting.intermediate_queue.get_job_ids())
    except RedisError:
        return []
    return [run_id for run_id in run_ids if job_id(run_id) not in queued]


def next_of(thread_id: UUID) -> list[UUID]:
    """The run of the thread whose turn it is now, if any."""
    return list(Run.objects.claimable().filter(thread=thread_id).values_list("pk", flat=True)[:1])
