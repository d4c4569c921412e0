"""Commands: a run is begun, an interrupt answered. By the same calls as every other door, with the same permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from accounts.callers import Caller
from accounts.exceptions import Refusal
from accounts.scopes import Scope
from django.utils.translation import gettext as _
from pydantic import ValidationError
from runtime.exceptions import (
    AlreadyDecided,
    CallRefused,
    DecisionRefused,
    InvalidDecision,
    NothingAsked,
    RuntimeRefusal,
)
from runtime.idempotency import Started
from runtime.models import Thread

from apps.chat import watching
from apps.chat.langgraph import answers, bodies, starting, threads
from apps.chat.langgraph.answers import NothingPending
from apps.chat.langgraph.http import Body, Problem, problems_of
from apps.chat.langgraph.protocol import envelopes, projection
from apps.chat.langgraph.protocol.envelopes import Command, ErrorCode, Json

Start = Callable[[Callable[[], Any]], Started]
"""Carries a start out; perhaps not for the first time."""

# Methods of the protocol that this server has no part of, or only over a socket.
ELSEWHERE = {
    "subscription.subscribe",
    "subscription.unsubscribe",
    "subscription.reconnect",
    "agent.getTree",
    "input.inject",
    "state.get",
    "state.listCheckpoints",
    "state.fork",
}


class Failure(Exception):
    """A command that was understood, and not carried out."""

    def __init__(self, code: ErrorCode, message: Any) -> None:
        super().__init__(str(message))
        self.code = code


class Door(NamedTuple):
    """Who commands, on which thread, and how a run is started once."""

    caller: Caller
    thread_id: UUID
    once: Start


def read(sent: Any) -> Command:
    """Raises ValidationError for what is no command."""
    return Command.model_validate(sent)


def check_thread(caller: Caller, thread_id: UUID, sent: Any) -> None:
    """Raises Http404 for a thread that is not theirs; only a run may make one."""
    is_start = isinstance(sent, dict) and sent.get("method") == "run.start"
    if not is_start or Thread.objects.filter(pk=thread_id).exists():
        threads.get_thread(caller.user, thread_id)


def perform(door: Door, command: Command) -> Json:
    """What is said to the command. Raises Http404, and refusals that are worth another try after a while."""
    try:
        door.caller.require(Scope.CHAT)
        return _performed(door, command)
    except Failure as failure:
        return envelopes.error(command.id, failure.code, str(failure))
    except ValidationError as error:
        return envelopes.error(command.id, "invalid_argument", problems_of(error))
    except NothingPending as problem:
        return envelopes.error(command.id, "no_such_interrupt", str(problem))
    except Problem as problem:
        code: ErrorCode = "invalid_argument" if problem.status in (400, 404, 422) else "unknown_error"
        return envelopes.error(command.id, code, str(problem))
    except Refusal as refusal:
        return envelopes.error(command.id, "permission_denied", str(refusal))
    except RuntimeRefusal as refusal:
        if refusal.retry_after:
            raise
        return envelopes.error(command.id, _code_of(refusal), str(refusal))


def _code_of(refusal: RuntimeRefusal) -> ErrorCode:
    if isinstance(refusal, DecisionRefused) or refusal.status == 403:
        return "permission_denied"
    if isinstance(refusal, NothingAsked | AlreadyDecided):
        return "no_such_interrupt"
    if isinstance(refusal, InvalidDecision | CallRefused) or refusal.status == 422:
        return "invalid_argument"
    return "unknown_error"


def _performed(door: Door, command: Command) -> Json:
    # Before anything happens: all that comes of it has a higher number.
    cursor = watching.cursor_of(door.thread_id)
    match command.method:
        case "run.start":
            result = _start(door, _params(envelopes.RunStart, command))
        case "input.respond":
            result = _respond(door, _params(envelopes.InputRespond, command))
        case method if method in ELSEWHERE:
            raise Failure("not_supported", _("%(method)s is not supported here.") % {"method": method})
        case method:
            raise Failure("unknown_command", _("There is no %(method)s.") % {"method": method})
    return envelopes.success(command.id, result, envelopes.applied_through(cursor))


def _params(kind: type[Body], command: Command) -> Body:
    return kind.model_validate(command.params)


def _start(door: Door, params: envelopes.RunStart) -> Json:
    """Input for a thread that waits is an answer, unless it is a message: what that does is a setting."""
    thread = Thread.objects.of(door.caller.user).filter(pk=door.thread_id).first()
    is_message = isinstance(params.input, dict) and "messages" in params.input
    resumes = (
        thread is not None and params.input is not None and not is_message and answers.is_waiting(thread)
    )
    body = _body(
        params.assistant_id,
        params.config,
        params.metadata,
        multitask_strategy=params.multitask_strategy,
        **({"command": {"resume": params.input}} if resumes else {"input": params.input}),
    )
    return {"run_id": str(_started(door, body).run.pk)}


def _respond(door: Door, params: envelopes.InputRespond) -> Json:
    if params.update or params.goto:
        raise Failure("not_supported", _("goto and update are not supported."))
    given = params.responses or []
    if params.interrupt_id is not None and not given:
        given = [envelopes.Response(interrupt_id=params.interrupt_id, response=params.response)]
    if not given:
        raise Failure("invalid_argument", _("Name interrupt_id and response, or responses."))
    by_id = {each.interrupt_id: each.response for each in given}
    unknown = [id for id in by_id if not answers.INTERRUPT_ID.fullmatch(id)]
    if unknown:
        raise NothingPending(_("No interrupt %(ids)s is pending.") % {"ids": ", ".join(sorted(unknown))}, 409)
    thread = threads.get_thread(door.caller.user, door.thread_id)
    body = _body(str(thread.assistant_id), params.config, params.metadata, command={"resume": by_id})
    _started(door, body)
    return {}


def _body(assistant: str, config: Any, metadata: Any, **fields: Any) -> bodies.RunCreate:
    how: Json = {"stream_mode": projection.MODES, "stream_subgraphs": True, "if_not_exists": "create"}
    given = {"assistant_id": assistant, "config": config, "metadata": metadata}
    return bodies.RunCreate.model_validate({**given, **how, **fields})


def _started(door: Door, body: bodies.RunCreate) -> Started:
    return door.once(lambda: starting.start(door.caller, door.thread_id, body))
