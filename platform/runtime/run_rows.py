"""What a run reads and writes of rows while it is performed: a transaction each, fenced by its lease."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from langchain_core.messages import AnyMessage
from langgraph.types import StateSnapshot

from runtime import ledger, masking, signals, snapshots, tools
from runtime.models import Message, Role, Run, RunStatus
from runtime.repair import mends


def is_rolled_back(run: Run) -> bool:
    return Run.objects.filter(pk=run.pk, options__rolls_back=True).exists()


@transaction.atomic
def forget_unsaved(run: Run, known: list[str | None]) -> None:
    """What an earlier attempt said and did not live to checkpoint will be said again, in other words."""
    run.hold()
    said = Message.objects.filter(run=run, role=Role.AI).exclude(message_id__in=[id for id in known if id])
    if said.delete()[0]:
        signals.run_changed.send(Run, run=run)


def kept_messages(thread_id: UUID, ids: set[str]) -> set[str]:
    kept = Message.objects.filter(thread=thread_id, message_id__in=ids).order_by()
    return set(kept.values_list("message_id", flat=True))


def first_of_turn(run_id: UUID) -> UUID:
    """The run that began the turn which this one resumes, perhaps again and again."""
    run = Run.objects.get(pk=run_id)
    while run.resumes is not None:
        run = run.resumes
    return run.pk


def ended_well(run: Run) -> bool:
    """The run before this one on its thread came to its end, or there was none."""
    before = Run.objects.filter(thread=run.thread_id, started_at__isnull=False).exclude(pk=run.pk)
    last = before.order_by("-started_at").values_list("status", flat=True).first()
    return last in (None, RunStatus.SUCCESS)


def with_repair(run: Run, state: StateSnapshot) -> dict[str, Any]:
    """The input, after what mends a history that an earlier, stopped turn left with calls that have no result.

    What a call came to is in the ledger, also when the turn was stopped before its graph heard of it.
    """
    input: dict[str, Any] = run.input or {}
    history: list[AnyMessage] = state.values.get("messages", []) if isinstance(state.values, dict) else []
    mending = mends(history, lambda call: tools.answer_for(run.thread_id, call["id"] or "", call["name"]))
    return {**input, "messages": [*mending, *input.get("messages", [])]} if mending else input


@transaction.atomic
def end(
    run: Run, status: str, unsaved: list[tuple[str, str]], rest: StateSnapshot | None, **fields: Any
) -> None:
    run.hold()
    _insert(run, unsaved)
    if status != RunStatus.WAITING:
        ledger.abandon(run)
    if rest is not None:
        snapshots.save(run.thread_id, run, rest)
    run.finish(status, **fields)


@transaction.atomic
def save_messages(run: Run, messages: list[tuple[str, str]], *, is_partial: bool = False) -> None:
    run.hold()
    _insert(run, messages, is_partial=is_partial)


def _insert(run: Run, messages: list[tuple[str, str]], *, is_partial: bool = False) -> None:
    """(id, text) of each, once. While the run is held nobody else writes messages of assistants on its thread."""
    if not messages:
        return
    kept = kept_messages(run.thread_id, {id[:100] for id, _ in messages})
    for id, text in messages:
        if id[:100] in kept:
            continue
        message = Message.objects.create(
            thread_id=run.thread_id,
            run=run,
            message_id=id[:100],
            role=Role.AI,
            content=masking.mask(text).replace("\x00", "\ufffd"),
            is_partial=is_partial,
        )
        signals.message_added.send(Message, message=message)
