"""What a graph asks by itself, past the gateway: its pending interrupts as rows that people decide on."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator
from langgraph.types import Interrupt

from runtime import ledger, masking, questions, tools
from runtime.context import RunContext
from runtime.models import HOLDS_INPUT, UNSETTLED, CallKind, Run, ToolCall, ToolState

NO = False  # what a question gets that nobody answered, where it takes that
GONE = "The graph no longer asks this."


class Settled(NamedTuple):
    """What the pending interrupts have come to."""

    answers: dict[str, Any]
    """{interrupt id: answer} of those of which nothing is open any more."""
    problem: str
    """Why the turn can't go on; empty when it can."""


class NoAnswer(Exception):
    """The graph takes nothing that would not be a yes."""


def settle(context: RunContext, pending: Sequence[Interrupt]) -> Settled:
    """Asks what nobody was asked about yet, and answers what is decided. Safe to repeat, after a crash too.

    Raises LeaseLost, and LimitReached when the graph asks about more than it may call tools.
    """
    by_gateway, strays = _calls(context.run, pending)
    answers: dict[str, Any] = {
        id: "decided" for id, call in by_gateway.items() if call.state not in UNSETTLED
    }
    others = [interrupt for interrupt in pending if interrupt.id not in by_gateway]
    if (
        not others and not strays
    ):  # as nearly always: nothing to write, and the gateway looks at the rows again
        return Settled(answers, "")
    return _settle_others(context, others, answers)


@transaction.atomic
def _settle_others(context: RunContext, others: Sequence[Interrupt], answers: dict[str, Any]) -> Settled:
    run = context.run
    run.hold()
    asked = [(interrupt, _rows(context, interrupt)) for interrupt in others]
    _withdraw_all_but(run, [row.pk for _, rows in asked for row in rows])
    decided = [(interrupt, rows) for interrupt, rows in asked if ledger.is_decided(rows)]
    try:
        answers |= {interrupt.id: _answer(interrupt, rows) for interrupt, rows in decided}
    except NoAnswer as refusal:
        return Settled({}, str(refusal))
    for _interrupt, rows in decided:
        ledger.hand_over(rows)
    return Settled(answers, "")


def _calls(run: Run, pending: Sequence[Interrupt]) -> tuple[dict[str, ToolCall], list[ToolCall]]:
    """{interrupt id: its call of the gateway}, and what else of the graph's own still waits on the thread.

    A graph may use our words: only a call of this thread's ledger counts.
    """
    named: dict[UUID, str] = {}
    for interrupt in pending:
        id = interrupt.value.get("tool_call_id") if isinstance(interrupt.value, dict) else None
        try:
            named[UUID(id)] = interrupt.id
        except (TypeError, ValueError, AttributeError):
            continue
    of_gateway = Q(kind=CallKind.CALL)
    rows = ToolCall.objects.filter(
        (of_gateway & Q(pk__in=named)) | (~of_gateway & Q(state__in=HOLDS_INPUT)), thread=run.thread_id
    )
    strays = [row for row in rows if row.kind != CallKind.CALL]
    return {named[row.pk]: row for row in rows if row.kind == CallKind.CALL}, strays


def _rows(context: RunContext, interrupt: Interrupt) -> list[ToolCall]:
    """In the order that was asked. A value that has changed since is asked about anew."""
    rows = []
    for proposal in questions.proposals(interrupt):
        row, is_new = ledger.found_or_made(context.run, proposal)
        if is_new:
            context.count_call()
        rows.append(row)
    return rows


def _withdraw_all_but(run: Run, asked: Collection[UUID]) -> None:
    """What the graph asked before it went on, or asks in other words by now, waits no longer."""
    foreign = ToolCall.objects.filter(thread=run.thread_id, state__in=HOLDS_INPUT)
    for row in foreign.exclude(kind=CallKind.CALL).exclude(pk__in=asked):
        row.advance(ToolState.CANCELLED, reason=GONE, finished_at=Now())


def _answer(interrupt: Interrupt, rows: Sequence[ToolCall]) -> Any:
    """What `interrupt()` returns in the graph. Raises NoAnswer."""
    if rows[0].kind == CallKind.QUESTION:
        return _answer_to_question(rows[0])
    decisions = [_decision(row) for row in rows]
    return decisions[0] if questions.is_single(interrupt.value) else {"decisions": decisions}


def _decision(action: ToolCall) -> dict[str, Any]:
    """In the middleware's words. A refusal it does not take is put as an answer in the tool's place."""
    match action.state:
        case ToolState.APPROVED | ToolState.DONE if action.is_edited:
            return {"type": "edit", "edited_action": {"name": action.tool, "args": action.true_args}}
        case ToolState.APPROVED | ToolState.DONE:
            return {"type": "approve"}
        case ToolState.RESPONDED:
            return {"type": "respond", "message": action.result}
    for kind in ("reject", "respond"):
        if kind in action.takes:
            return {"type": kind, "message": tools.told(action)}
    raise NoAnswer(_stays_unanswered(action))


def _answer_to_question(question: ToolCall) -> Any:
    if question.state == ToolState.RESPONDED:
        answer = json.loads(question.result) if question.args_schema else question.result
        return masking.opened(answer, question.sealed)
    if Draft202012Validator(question.args_schema).is_valid(NO):
        return NO
    raise NoAnswer(_stays_unanswered(question))


def _stays_unanswered(row: ToolCall) -> str:
    words = {"tool": row.tool, "why": tools.told(row)}
    return _("The graph asked about %(tool)s and takes no refusal, so the turn ends here. %(why)s") % words
