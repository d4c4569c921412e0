"""What a new message meets before it becomes a run: limits, a turn under way, a tool call that waits."""

from __future__ import annotations

from typing import Literal

from accounts.models import User
from django.conf import settings
from django.db.models import Count, Q
from django.db.models.functions import Now

from runtime import budgets
from runtime.exceptions import QueueFull, ThreadBusy, ThreadWaiting, TooManyInBatches, TooManyRuns
from runtime.models import ACTIVE, UNSETTLED, Run, RunQueue, RunStatus, Thread, ToolState

WhenBusy = Literal["enqueue", "reject", "interrupt", "rollback"]
"""A turn is under way: wait for its end; refuse; stop it and begin; stop it and begin where it began."""
WhenWaiting = Literal["refuse", "queue", "withdraw"]
"""A tool call waits for a decision: refuse; wait for it; withdraw the call and begin."""


def check_limits(user: User) -> None:
    """Raises BudgetUsedUp, TooManyRuns or QueueFull, which say when to try again."""
    budgets.check(user)
    active = Run.objects.filter(status__in=ACTIVE, queue=RunQueue.INTERACTIVE).aggregate(
        own=Count("pk", filter=Q(user=user)), pending=Count("pk", filter=Q(status=RunStatus.PENDING))
    )
    if active["own"] >= settings.USER_RUN_LIMIT:
        raise TooManyRuns
    # Messages that wait for their own thread are nobody's load; telling them apart is dear, so it comes second.
    if active["pending"] >= settings.QUEUE_LIMIT and _claimable() >= settings.QUEUE_LIMIT:
        raise QueueFull


def _claimable() -> int:
    return Run.objects.claimable().filter(queue=RunQueue.INTERACTIVE).count()


def check_batch_limits(user: User) -> None:
    """The same for runs that nobody waits for, which are counted apart."""
    budgets.check(user)
    active = Run.objects.filter(status__in=ACTIVE, queue=RunQueue.BATCH).aggregate(
        own=Count("pk", filter=Q(user=user)), pending=Count("pk", filter=Q(status=RunStatus.PENDING))
    )
    if active["own"] >= settings.USER_BATCH_LIMIT:
        raise TooManyInBatches
    if active["pending"] >= settings.QUEUE_LIMIT:
        raise QueueFull


def meet_waiting(thread: Thread, when_waiting: WhenWaiting) -> None:
    """Raises ThreadWaiting unless the message may wait, or the waiting calls can be withdrawn.

    A call whose outcome is not known can't be: a person has to find out what it did.
    """
    calls = list(thread.tool_calls.filter(state__in=UNSETTLED))
    if not calls or when_waiting == "queue":
        return
    if when_waiting == "refuse" or any(call.state == ToolState.UNKNOWN for call in calls):
        raise ThreadWaiting
    for call in calls:
        call.advance(ToolState.SUPERSEDED, reason="A newer message took its place.", finished_at=Now())
    _end_waiting_turn(thread)


def _end_waiting_turn(thread: Thread) -> None:
    """Nothing will resume the turn any more, unless another call of it was decided just now."""
    if thread.runs.filter(status__in=ACTIVE, command__isnull=False).exists():
        return
    for call in thread.tool_calls.filter(
        state=ToolState.APPROVED
    ):  # it waited for the others of its interrupt
        call.advance(ToolState.CANCELLED, reason="A newer message took its place.", finished_at=Now())
    for run in thread.runs.filter(status=RunStatus.WAITING, resumed_by__isnull=True):
        run.advance(RunStatus.CANCELLED, among=Q(status=RunStatus.WAITING), ended_at=Now())


def runs_to_stop(thread: Thread, when_busy: WhenBusy) -> list[Run]:
    """The runs that make way for the message, the one at work first. Raises ThreadBusy for "reject"."""
    if when_busy == "enqueue":
        return []
    active = list(thread.runs.filter(status__in=ACTIVE).order_by("created_at"))
    if active and when_busy == "reject":
        raise ThreadBusy
    return sorted(active, key=lambda run: run.status != RunStatus.RUNNING)
