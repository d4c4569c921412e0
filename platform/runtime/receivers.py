"""After the commit, what changed goes into the thread's log, whoever changed it."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from runtime import budgets, events, prices, runs, signals
from runtime.models import Budget, Message, ModelPrice, Run, RunStatus, ToolCall

logger = logging.getLogger(__name__)


@receiver(signals.message_added)
def announce_message(message: Message, **_: Any) -> None:
    data = {"pk": message.pk, "key": message.key}
    transaction.on_commit(partial(events.announce, message.thread_id, "message", message.run_id, data))


@receiver(signals.tool_call_changed)
def announce_tool_call(tool_call: ToolCall, **_: Any) -> None:
    data = {"pk": str(tool_call.pk), "state": tool_call.state}
    transaction.on_commit(partial(events.announce, tool_call.thread_id, "tool_call", tool_call.run_id, data))


@receiver(signals.run_changed)
def announce_run(run: Run, **_: Any) -> None:
    data = {"status": run.status, "attempt": run.attempt}
    transaction.on_commit(partial(events.announce, run.thread_id, "run", run.pk, data))
    if not run.is_active and run.status != RunStatus.WAITING and _goes_with_its_thread(run):
        run.thread.withdraw_from_owner()
    if not run.is_active:
        transaction.on_commit(lambda: runs.enqueue(runs.next_of(run.thread_id)))


@receiver(signals.reconciling)
def charge_lost_reservations(**_: Any) -> None:
    if lost := budgets.charge_lost():
        logger.info("reservations charged", extra={"action": "reservations_charged", "calls": lost})


@receiver([post_save, post_delete], sender=Budget)
@receiver([post_save, post_delete], sender=ModelPrice)
def look_at_rates_anew(**_: Any) -> None:
    prices.forget()
    transaction.on_commit(prices.forget)


def _goes_with_its_thread(run: Run) -> bool:
    return run.options is not None and run.options.get("on_completion") == "delete"
