"""What must be true of the rows at any moment, and is looked at after every fault.

An app with rows of its own adds its checks with `@check`; the engine knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Now

from runtime.database import in_pages
from runtime.ledger import digest
from runtime.models import (
    ACTIVE,
    HOLDS_INPUT,
    UNSETTLED,
    Message,
    Role,
    Run,
    RunStatus,
    Spending,
    ToolCall,
    ToolState,
)

LEASE_GRACE = timedelta(seconds=15)  # by then some worker's watch has taken the run over


@dataclass(frozen=True)
class Violation:
    """One thing that is not as it must be."""

    name: str
    subject: str
    """Which row, as "run <id>"."""
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.subject}: {self.detail}"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


Check = Callable[[], Iterable[tuple[str, str]]]
"""Yields (subject, detail) of each violation."""

_checks: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Adds a check under the name that its violations bear."""

    def add(function: Check) -> Check:
        _checks[name] = function
        return function

    return add


def violations(*, settled: bool = False) -> list[Violation]:
    """Everything that is wrong, at one moment. `settled`: nothing is under way, so a live run is wrong as well."""
    checks = {**_checks, "run-not-settled": _not_settled} if settled else _checks
    with one_moment():
        return [Violation(name, *found) for name, function in checks.items() for found in function()]


@contextmanager
def one_moment() -> Iterator[None]:
    """All checks see one snapshot: a run that ends between two of them is no violation."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _run(pk: UUID) -> str:
    return f"run {pk}"


def _call(pk: UUID) -> str:
    return f"tool call {pk}"


def _newest_started() -> QuerySet[Run]:
    """The run a thread's state is of. One cancelled while it was queued never touched the thread."""
    return Run.objects.filter(thread=OuterRef("thread"), started_at__isnull=False).order_by("-started_at")


def _not_settled() -> Iterator[tuple[str, str]]:
    for pk, status in Run.objects.filter(status__in=ACTIVE).values_list("pk", "status"):
        yield _run(pk), f"is {status} although nothing should be under way."


@check("lease-expired")
def _expired_leases() -> Iterator[tuple[str, str]]:
    late = Run.objects.filter(status=RunStatus.RUNNING, lease_expires_at__lt=Now() - LEASE_GRACE)
    for pk, lease in late.values_list("pk", "lease_expires_at"):
        yield _run(pk), f"is running on a lease that ended at {lease:%H:%M:%S} UTC."


@check("lease-without-owner")
def _leases_without_owner() -> Iterator[tuple[str, str]]:
    held = Run.objects.filter(lease_expires_at__isnull=False).exclude(status=RunStatus.RUNNING)
    for pk, status in held.values_list("pk", "status"):
        yield _run(pk), f"is {status} and still has a lease."


@check("two-running")
def _two_running() -> Iterator[tuple[str, str]]:
    running = Run.objects.filter(status=RunStatus.RUNNING).order_by().values("thread")
    for row in running.annotate(count=Count("pk")).filter(count__gt=1):
        yield f"thread {row['thread']}", f"has {row['count']} running runs."


@check("call-left-over")
def _calls_left_over() -> Iterator[tuple[str, str]]:
    """An unknown call may outlive its turn: a person says what became of it, whenever that is."""
    resume = Run.objects.filter(thread=OuterRef("thread"), status__in=ACTIVE, command__isnull=False)
    ended = set(RunStatus.values) - {*ACTIVE, RunStatus.WAITING}
    calls = ToolCall.objects.filter(~Exists(resume), state__in=HOLDS_INPUT)
    calls = calls.annotate(turn=Subquery(_newest_started().values("status")[:1]))
    for pk, state, turn in calls.filter(turn__in=ended).values_list("pk", "state", "turn"):
        yield _call(pk), f"is {state} although its turn has ended as {turn}."


@check("waits-for-nothing")
def _waiting_for_nothing() -> Iterator[tuple[str, str]]:
    unsettled = ToolCall.objects.filter(thread=OuterRef("thread"), state__in=UNSETTLED)
    resume = Run.objects.filter(
        thread=OuterRef("thread"), command__isnull=False, created_at__gt=OuterRef("created_at")
    )
    for pk in Run.objects.filter(~Exists(unsettled), ~Exists(resume), status=RunStatus.WAITING).values_list(
        "pk", flat=True
    ):
        yield _run(pk), "waits, but there is nothing to decide and no run resumes it."


@check("call-without-run")
def _calls_without_run() -> Iterator[tuple[str, str]]:
    """A pending run has just been taken over: its next attempt settles the call."""
    alone = ToolCall.objects.filter(state=ToolState.RUNNING).exclude(run__status__in=ACTIVE)
    for pk, status in alone.values_list("pk", "run__status"):
        yield _call(pk), f"is running although its run is {status}."


@check("arguments-changed")
def _changed_arguments() -> Iterator[tuple[str, str]]:
    for call in in_pages(ToolCall.objects.only("args", "args_digest")):
        if digest(call.args) != call.args_digest:
            yield _call(call.pk), "has other arguments than those that were reviewed."


@check("reserved-for-nothing")
def _reserved_for_nothing() -> Iterator[tuple[str, str]]:
    for row in Spending.objects.annotate(held=Sum("reservations__amount", default=Decimal(0))):
        if row.held != row.reserved:
            yield f"spending {row.pk}", f"has {row.reserved:f} reserved, and reservations of {row.held:f}."


@check("message-lost")
def _lost_messages() -> Iterator[tuple[str, str]]:
    ended = Run.objects.filter(status=RunStatus.SUCCESS)
    for run in in_pages(ended.filter(input__isnull=False).only("thread", "input")):
        written = {str(message["id"]) for message in (run.input or {}).get("messages", [])}
        there = Message.objects.filter(thread=run.thread_id, message_id__in=written)
        for id in sorted(written - set(there.values_list("message_id", flat=True))):
            yield _run(run.pk), f"began with message {id}, which is gone."
    said = Message.objects.filter(run=OuterRef("pk"), role=Role.AI)
    called = ToolCall.objects.filter(run=OuterRef("pk"))
    for pk in ended.filter(~Exists(said), ~Exists(called), output_tokens__gt=0).values_list("pk", flat=True):
        yield _run(pk), "succeeded and was paid for, but nothing it said was kept."


@check("message-doubled")
def _doubled_messages() -> Iterator[tuple[str, str]]:
    """The same words twice with no tool call in between: a model's answer asked for again after it was kept."""
    whole = Message.objects.filter(role=Role.AI, is_partial=False).order_by()
    for row in whole.values("run", "content").annotate(count=Count("pk")).filter(count__gt=1):
        said = whole.filter(run=row["run"], content=row["content"]).order_by("created_at")
        times = list(said.values_list("created_at", flat=True))
        for earlier, later in pairwise(times):
            if not ToolCall.objects.filter(run=row["run"], created_at__range=(earlier, later)).exists():
                yield _run(row["run"]), "said the same twice."
