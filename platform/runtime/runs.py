"""The one door into the engine: create a run, resume one, stop one. Every view, socket, API and command knocks here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

from accounts.models import User
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from runtime import admission, audit, idempotency, ledger, masking, signals
from runtime.admission import WhenBusy, WhenWaiting
from runtime.exceptions import AssistantRetired, MessageTooLong
from runtime.models import (
    Assistant,
    AssistantVersion,
    Message,
    Role,
    Run,
    RunQueue,
    RunStatus,
    RunWebhook,
    Thread,
    ToolCall,
    ToolState,
)
from runtime.redis_client import redis_client
from runtime.said import said_in, title_of
from runtime.schemas import RunFields
from runtime.testpoints import testpoint

logger = logging.getLogger(__name__)

# RQ wakes a worker by this path. A string: the web never imports the engine's worker half.
EXECUTE_RUN = "runtime.worker.execute_run"
QUEUE = "interactive"
BATCH = "batch"  # of runs that nobody waits for
STOP_CHANNEL = "runs:stop"
ROOM_KEY = "runs:room"  # written to see whether Redis takes anything
RECONCILE_AFTER = timedelta(seconds=2)  # a run this young is on its way to its worker

GRAPH = "graph_id"  # in a thread's metadata from the first time on that a program runs it

Wanted = tuple[UUID, str]
"""A run to wake a worker for, and its queue."""

fields_of_resume: ContextVar[RunFields | None] = ContextVar("fields_of_resume", default=None)
"""Set around a decision by who wants the run that it resumes to have these; else it inherits."""


def send_message(
    thread: Thread,
    user: User,
    text: str,
    *,
    when_busy: WhenBusy = "enqueue",
    assistant: Assistant | None = None,
    fields: RunFields | None = None,
) -> Run:
    """A new turn begun by a person's message. Raises MessageTooLong, and what `create_run` raises."""
    if len(text) > settings.MESSAGE_MAX_CHARS:
        limit = settings.MESSAGE_MAX_CHARS
        raise MessageTooLong(
            _("The message has %(length)s characters; at most %(limit)s are allowed. Shorten it.")
            % {"length": len(text), "limit": limit}
        )
    message = {"role": "user", "content": text, "id": str(uuid4())}
    return create_run(
        thread,
        user=user,
        input={"messages": [message]},
        when_busy=when_busy,
        assistant=assistant,
        fields=fields,
    )


@transaction.atomic
def create_run(
    thread: Thread,
    *,
    user: User,
    input: dict[str, Any] | None = None,
    command: dict[str, Any] | None = None,
    when_busy: WhenBusy = "enqueue",
    when_waiting: WhenWaiting | None = None,
    assistant: Assistant | None = None,
    fields: RunFields | None = None,
) -> Run:
    """Writes a pending run, its human messages, and wakes a worker after the commit.

    `when_busy` and `when_waiting` (by default the setting) say what new input does on a thread that is busy, or
    waits for a decision. Raises AssistantRetired, ThreadBusy, ThreadWaiting, TooManyRuns, QueueFull; a command is
    always taken.
    `assistant`: in place of the thread's, which it becomes. `fields`: what a program wants kept with the run.
    """
    thread = Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
    stopped: list[Run] = []
    if command is None:
        if fields and fields.get("queue") == RunQueue.BATCH:
            admission.check_batch_limits(user)
        else:
            admission.check_limits(user)
        admission.meet_waiting(thread, when_waiting or cast(WhenWaiting, settings.WHEN_WAITING))
        stopped = admission.runs_to_stop(thread, when_busy)
    for run in stopped:
        cancel_run(run)
    if assistant is not None and assistant.pk != thread.assistant_id:
        thread.assistant = assistant
        thread.save(update_fields=["assistant"])
    is_programs = GRAPH in thread.metadata  # a program uses it too, and reads what it comes to
    if fields is None and is_programs:
        fields = {"options": {"stream_mode": []}}
    replaces = stopped[0] if stopped and when_busy == "rollback" else None
    if replaces is None and is_programs:
        replaces = _rolled_back(thread)
    return _write(thread, user.pk, input=input, command=command, replaces=replaces, **(fields or {}))


def _rolled_back(thread: Thread) -> Run | None:
    """The last run of the thread, if it was stopped as if it had never been."""
    newest = thread.runs.order_by("-created_at").first()
    is_undone = newest is not None and newest.status == RunStatus.CANCELLED
    return newest if newest and is_undone and (newest.options or {}).get("rolls_back") else None


def _write(thread: Thread, user_id: int, *, command: dict[str, Any] | None, **fields: Any) -> Run:
    """The run and its human messages, in a transaction that holds the thread; its worker is woken after that."""
    run_id = uuid4()
    # First of what follows the commit: whoever waits, waits for the worker.
    transaction.on_commit(lambda: enqueue([(run_id, fields.get("queue", QUEUE))]))
    waiting = (
        thread.runs.filter(status=RunStatus.WAITING).order_by("-created_at").first() if command else None
    )
    fields = _masked({**((waiting and fields_of_resume.get()) or {}), **fields})
    webhook = fields.pop("webhook", "")
    if waiting is not None:
        fields = {**_inherited(waiting), **fields, "sealed": masking.joined(waiting.sealed, fields["sealed"])}
    run = Run.objects.create(
        id=run_id,
        thread=thread,
        assistant_id=waiting.assistant_id if waiting else thread.assistant_id,
        version=waiting.version if waiting else _version_of(thread, is_new=command is None),
        user_id=user_id,
        command=command,
        resumes=waiting,
        **fields,
    )
    idempotency.keep(run)
    if webhook:
        RunWebhook.order(run, webhook)
    elif waiting is not None:
        RunWebhook.pass_on(waiting, run)
    for message in said_in(run):
        row = Message.objects.create(
            thread=thread, run=run, role=Role.HUMAN, message_id=message["id"], content=message["content"]
        )
        signals.message_added.send(Message, message=row)
        thread.title = thread.title or title_of(row.content)
    thread.touch(title=thread.title)
    signals.run_changed.send(Run, run=run)
    return run


def _version_of(thread: Thread, *, is_new: bool) -> AssistantVersion | None:
    """What its assistant says now. Raises AssistantRetired where nothing new is begun any more."""
    version = AssistantVersion.in_use(thread.assistant_id)
    if is_new and version is not None and version.assistant.retired_at is not None:
        raise AssistantRetired
    return version


KEPT_BY_RESUMES = ("metadata", "config", "context", "options", "queue", "batch")


def _masked(fields: dict[str, Any]) -> dict[str, Any]:
    """Without secrets. What the graph gets from a program, and a tool may be called with, is sealed beside it."""
    given = [name for name in ("input", "config", "context", "metadata") if fields.get(name) is not None]
    found = {name: masking.taken(fields[name]) for name in given}
    values = [held for name, (_masked, held) in found.items() if name != "metadata"]
    return {
        **fields,
        **{name: value for name, (value, _held) in found.items()},
        "sealed": masking.kept(*values),
    }


def _inherited(waiting: Run) -> dict[str, Any]:
    """What the run that goes on has of the one that waited."""
    return {name: getattr(waiting, name) for name in KEPT_BY_RESUMES}


@transaction.atomic(savepoint=False)
def resume(tool_call: ToolCall) -> Run:
    """The turn that waited for `tool_call` goes on. The decision is in the row; this only wakes the graph.

    For a transaction that decides, and holds the thread.
    """
    command = {"resume": {"tool_call": str(tool_call.pk)}}
    return _write(tool_call.thread, tool_call.user_id, command=command)


def cancel_run(run: Run) -> bool:
    """Stops a run: at once when it is queued, else as soon as its worker hears of it. False when it has ended."""
    with transaction.atomic():
        if run.command is not None and Run.objects.filter(pk=run.pk, status=RunStatus.PENDING).exists():
            return _stop_before_resuming(run)
        queued = Q(status=RunStatus.PENDING)
        if run.advance(RunStatus.CANCELLED, among=queued, ended_at=Now(), cancel_requested_at=Now()):
            if Run.objects.filter(pk=run.pk, started_at__isnull=False).exists():
                ledger.abandon(run)  # it may have asked something before it was given back
            return True
        running = Run.objects.filter(pk=run.pk, status=RunStatus.RUNNING)
        is_running = running.exists()
        is_first = running.filter(cancel_requested_at__isnull=True).update(cancel_requested_at=Now())
        if is_first:
            audit.append("run.stop_asked", subject=run, thread_id=run.thread_id)
            transaction.on_commit(partial(_tell_to_stop, run.pk))
    return is_running


def _tell_to_stop(run_id: UUID) -> None:
    try:
        redis_client().publish(STOP_CHANNEL, str(run_id))
    except RedisError:  # its worker finds it with the next heartbeat
        logger.warning("stop not published", extra={"action": "stop_unpublished", "run_id": str(run_id)})


def _stop_before_resuming(run: Run) -> bool:
    """What was approved will not run. The resume itself stays: the graph has to hear of it, or it waits for ever."""
    for tool_call in ToolCall.objects.filter(thread=run.thread_id, state=ToolState.APPROVED):
        tool_call.advance(ToolState.CANCELLED, reason="Stopped by the requester.", finished_at=Now())
    return True


def enqueue(wanted: Iterable[Wanted]) -> None:
    """Wakes a worker for each run. What Redis does not take, reconcile() brings again."""
    testpoint("before_enqueue")
    for run_id, name in wanted:
        try:
            queue(name).enqueue(EXECUTE_RUN, str(run_id), job_id=job_id(run_id), description=f"run {run_id}")
        except RedisError:
            logger.warning("run not enqueued", extra={"action": "run_not_enqueued", "run_id": str(run_id)})


def queue(name: str = QUEUE) -> Queue:
    return Queue(name, connection=redis_client(), default_timeout=-1, serializer=JSONSerializer)


def job_id(run_id: UUID) -> str:
    return f"run-{run_id}"


class Mended(NamedTuple):
    """What `reconcile` found."""

    taken_over: int
    enqueued: int
    unreached: list[UUID]
    """Runs whose turn it is while Redis is away or full: whoever can perform runs takes them from here."""
    suspects: int
    """How many have to be performed alone."""


def reconcile() -> Mended:
    """Takes back runs whose lease ran out and wakes workers for runs that no queue knows. Safe to repeat."""
    mended = _recover()
    # Only now: what people have set up for later must not delay what was lost.
    signals.reconciling.send_robust(sender=None)
    return mended


def _recover() -> Mended:
    taken_over = _take_over()
    pending = Run.objects.claimable().filter(created_at__lt=Now() - RECONCILE_AFTER)
    suspected = Run.objects.suspects().filter(status=RunStatus.PENDING).count()
    due = list(pending.unsuspected().order_by("created_at").values_list("pk", "queue")[:500])
    try:
        if due:  # a Redis that is full hands out no jobs either
            redis_client().set(ROOM_KEY, "", px=1)
        forgotten = _not_queued(due)
    except RedisError:
        return Mended(taken_over, 0, [run_id for run_id, _name in due], suspected)
    enqueue(forgotten)
    return Mended(taken_over, len(forgotten), [], suspected)


def suspects() -> Iterator[UUID]:
    """Each run that has to be performed alone and whose turn it is, once, until there is no other."""
    seen: list[UUID] = []
    while run := Run.objects.suspects().claimable().exclude(pk__in=seen).order_by("created_at").first():
        seen.append(run.pk)
        yield run.pk


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
    dead = Q(lease_expires_at__lt=Now())
    again = expired.filter(attempt__lt=settings.RUN_MAX_ATTEMPTS + F("drains"))
    return sum(
        run.advance(RunStatus.PENDING, among=dead & Q(attempt=run.attempt), lease_expires_at=None, worker="")
        for run in again
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


def _not_queued(due: list[Wanted]) -> list[Wanted]:
    # Not those in the intermediate queue: what a worker took before it died stays there for a minute.
    queued = {id for name in {name for _run_id, name in due} for id in queue(name).job_ids}
    return [(run_id, name) for run_id, name in due if job_id(run_id) not in queued]


def next_of(thread_id: UUID) -> list[Wanted]:
    """The run of the thread whose turn it is now, if any."""
    if not Run.objects.filter(thread=thread_id, status=RunStatus.PENDING).exists():  # as nearly always
        return []
    return list(Run.objects.claimable().filter(thread=thread_id).values_list("pk", "queue")[:1])
