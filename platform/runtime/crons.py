"""When crons are due: the times they have, and giving each time to one worker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import UUID

from accounts.exceptions import Refusal
from django.db import transaction
from django.db.models import QuerySet

from runtime import audit, database, schedules
from runtime.exceptions import RuntimeRefusal
from runtime.models import Cron, CronTurn, Run

logger = logging.getLogger(__name__)

AT_ONE_LOOK = 50  # the next comes in seconds
KEPT_TURNS = 100  # of each cron


class Over(Exception):
    """The cron can't go on. The message says why, and what its owner may do."""


def plan(cron: Cron) -> None:
    """Sets when it is due next, counted from now. Raises BadSchedule. The caller saves it."""
    found = schedules.next_time(cron.schedule, cron.timezone, database.now())
    is_over = cron.end_time is not None and found > cron.end_time
    cron.next_run_at = found if cron.is_enabled and not is_over else None


@transaction.atomic
def set_enabled(crons: QuerySet[Cron], is_enabled: bool) -> int:
    """Pauses or resumes those that are not so; how many. What a paused one missed is not made up for."""
    changed = list(crons.filter(is_enabled=not is_enabled).select_for_update(of=("self",)))
    for cron in changed:
        cron.is_enabled, cron.problem = is_enabled, ""
        plan(cron)
        cron.save()
    return len(changed)


def perform_due(begin: Callable[[Cron], Run]) -> int:
    """Lets `begin` begin what is due; how many runs that are. `begin` raises Over where nothing can begin any more."""
    due = list(Cron.due().order_by("next_run_at").values_list("pk", flat=True)[:AT_ONE_LOOK])
    return sum(_perform(pk, begin) for pk in due)


@transaction.atomic
def _perform(cron_id: UUID, begin: Callable[[Cron], Run]) -> bool:
    """Of several workers one has it. All times that were missed are this one."""
    held = Cron.due().filter(pk=cron_id).select_for_update(of=("self",), skip_locked=True)
    cron = held.select_related("owner", "key", "thread", "assistant").first()
    if cron is None or cron.next_run_at is None:
        return False
    turn, is_new = CronTurn.objects.get_or_create(cron=cron, due_at=cron.next_run_at)
    problem, is_over = "", False
    if is_new:
        problem, is_over = _take(turn, cron, begin)
    if not is_over:
        try:
            plan(cron)
        except RuntimeRefusal as refusal:  # its time zone is no more
            problem, is_over = str(refusal), True
    if is_over:
        _stop(cron, problem)
    else:
        Cron.objects.filter(pk=cron.pk).update(next_run_at=cron.next_run_at, problem=problem)
    _forget_old(cron)
    return turn.run_id is not None


def _take(turn: CronTurn, cron: Cron, begin: Callable[[Cron], Run]) -> tuple[str, bool]:
    """What was in the way, and whether it is for good."""
    is_over = False
    try:
        with transaction.atomic():
            turn.run, problem = begin(cron), ""
    except (Over, Refusal) as obstacle:
        problem, is_over = str(obstacle), True
    except RuntimeRefusal as refusal:
        problem = str(refusal)
    except Exception as error:  # a fault of ours must not be met again every two seconds
        logger.exception("cron failed", extra={"action": "cron_failed", "cron_id": str(cron.pk)})
        problem = type(error).__name__
    turn.problem = problem = problem[:300]
    turn.save()
    return problem, is_over


def _stop(cron: Cron, problem: str) -> None:
    Cron.objects.filter(pk=cron.pk).update(is_enabled=False, next_run_at=None, problem=problem)
    audit.append("cron.stopped", subject=cron, reason=problem)


def _forget_old(cron: Cron) -> None:
    kept = cron.turns.order_by("-due_at").values("pk")[:KEPT_TURNS]
    cron.turns.exclude(pk__in=list(kept.values_list("pk", flat=True))).delete()
