"""Answers to interrupts, in any of the three shapes that clients have for them, as decisions of the one who calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import UUID

from accounts.callers import Caller
from accounts.exceptions import OutOfScope
from accounts.scopes import Scope
from django.db import transaction
from django.utils.translation import gettext as _
from runtime import decisions, runs
from runtime.models import UNSETTLED, CallKind, Run, Thread, ToolCall
from runtime.schemas import Decision, RunFields

from apps.chat.langgraph import states
from apps.chat.langgraph.http import Problem

Json = dict[str, Any]
Answer = tuple[ToolCall, Decision]

INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")

# The words of the older clients.
OLD_WORDS = {"accept": "approve", "ignore": "reject", "response": "respond", "edit": "edit"}


class NothingPending(Problem):
    """An answer to what nobody asks, or not any more."""


def is_waiting(thread: Thread) -> bool:
    return thread.tool_calls.filter(state__in=UNSETTLED).exists()


def resume(caller: Caller, thread: Thread, given: Any, fields: RunFields) -> Run:
    """Carries out the decisions that `given` holds; the run that goes on with them. All of them, or none."""
    made = [answer for interrupt, value in _by_interrupt(thread, given) for answer in _read(interrupt, value)]
    # A key that may chat does not thereby decide; a question of the graph is part of the chat.
    if Scope.APPROVE not in caller.scopes and any(call.kind != CallKind.QUESTION for call, _decision in made):
        raise OutOfScope()
    with _one_run(thread, fields, of=len(made)) as found:
        for call, decision in made:
            decisions.decide(caller.user, call.pk, decision)
    if not found:
        raise Problem(_("Your decision is kept. Others have to decide as well before it goes on."), 409)
    return found[0]


def withdraw(caller: Caller, thread: Thread, fields: RunFields) -> Run:
    """The requester takes back all that waits; the run that goes on without it."""
    waiting = list(thread.tool_calls.filter(state__in=UNSETTLED))
    if not waiting:
        raise Problem(_("Nothing waits for an answer on this thread."), 409)
    with _one_run(thread, fields, of=len(waiting)) as found:
        for call in waiting:
            decisions.withdraw(caller.user, call.pk)
    return found[0]


@contextmanager
def _one_run(thread: Thread, fields: RunFields, *, of: int) -> Iterator[list[Run]]:
    """Afterwards the list holds the runs that were made inside, the one that does the work first.

    Several decisions are one transaction; a single one keeps its own, which may have to keep what it found out.
    """
    known = set(thread.runs.values_list("pk", flat=True))
    found: list[Run] = []
    token = runs.fields_of_resume.set(fields or None)
    try:
        with transaction.atomic() if of > 1 else nullcontext():
            yield found
        made = thread.runs.filter(command__isnull=False).exclude(pk__in=known)
        found += made.order_by("created_at")
    finally:
        runs.fields_of_resume.reset(token)


def _by_interrupt(thread: Thread, given: Any) -> list[tuple[Json, Any]]:
    """Each pending interrupt that is answered, with its answer. Raises Problem for what does not wait."""
    state = states.current(thread) if is_waiting(thread) else None
    pending = {each["id"]: each for each in state.interrupts} if state else {}
    if not pending:
        raise NothingPending(_("Nothing waits for an answer on this thread."), 409)
    if isinstance(given, dict) and given and all(INTERRUPT_ID.fullmatch(id) for id in given):
        if unknown := given.keys() - pending.keys():
            raise NothingPending(
                _("No interrupt %(ids)s is pending.") % {"ids": ", ".join(sorted(unknown))}, 409
            )
        return [(pending[id], value) for id, value in given.items()]
    if len(pending) > 1:
        raise Problem(_("Several interrupts are pending: send {interrupt id: answer}."))
    return [(next(iter(pending.values())), given)]


def _read(interrupt: Json, value: Any) -> list[Answer]:
    """A decision for each call that the interrupt asks about, in its order."""
    rows = {str(row.pk): row for row in ToolCall.objects.filter(pk__in=map(UUID, interrupt["calls"]))}
    calls = [rows[id] for id in interrupt["calls"] if id in rows]
    if not calls:
        raise NothingPending(_("This interrupt no longer waits. Read the thread's state again."), 409)
    if calls[0].kind == CallKind.QUESTION:
        decision: Decision = {"type": "respond", "answer": value}
        return [(calls[0], decision)]
    given = _listed(value)
    if len(given) != len(calls):
        raise Problem(
            _("%(asked)s decisions are asked for, and %(given)s came.")
            % {"asked": len(calls), "given": len(given)}
        )
    made = [(call, _decision(call, each)) for call, each in zip(calls, given, strict=True)]
    if "digest" in interrupt:
        made[0][1]["digest"] = interrupt["digest"]
    return made


def _listed(value: Any) -> list[Any]:
    if isinstance(value, dict) and isinstance(value.get("decisions"), list):
        return list(value["decisions"])
    return value if isinstance(value, list) else [value]


def _decision(call: ToolCall, given: Any) -> Decision:
    """Of either vocabulary, in ours."""
    kind = given.get("type") if isinstance(given, dict) else None
    if kind in ("accept", "ignore", "response") or (kind == "edit" and "args" in given):
        given = _in_new_words(given)
        kind = given["type"]
    match kind:
        case "approve":
            return {"type": "approve"}
        case "edit":
            return {
                "type": "edit",
                "args": _edited(call, given.get("edited_action") or given.get("editedAction")),
            }
        case "reject":
            return {"type": "reject", "message": _text(given.get("message"))}
        case "respond":
            return {"type": "respond", "message": _text(given.get("message"))}
    raise Problem(_("A decision has a type: approve, edit, reject or respond."))


def _in_new_words(given: Json) -> Json:
    kind, args = OLD_WORDS[given["type"]], given.get("args")
    if kind == "edit" and isinstance(args, dict):
        return {"type": kind, "edited_action": {"name": args.get("action"), "args": args.get("args")}}
    return {"type": kind, "message": args if isinstance(args, str) else None}


def _text(message: Any) -> str:
    if message is not None and not isinstance(message, str):
        raise Problem(_("A decision's message is a text."))
    return message or ""


def _edited(call: ToolCall, action: Any) -> Json:
    if not isinstance(action, dict) or not isinstance(action.get("args"), dict):
        raise Problem(_("An edit brings edited_action, with name and args."))
    if action.get("name") != call.tool:
        raise Problem(
            _("An edit changes arguments. Another tool than %(tool)s is another call.") % {"tool": call.tool}
        )
    properties = call.args_schema.get("properties", {})
    return {name: _as_asked(value, properties.get(name)) for name, value in action["args"].items()}


def _as_asked(value: Any, schema: Any) -> Any:
    """A number that a form made a text of, as the number that the tool's schema asks for."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(value, str):
        return value
    try:
        match kind:
            case "integer":
                return int(value)
            case "number":
                return float(value)
            case "boolean":
                return {"true": True, "false": False}[value.lower()]
    except (ValueError, KeyError):
        return value  # the decision says what is wrong with it
    return value
