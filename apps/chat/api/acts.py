"""What a frame of the programs' socket does. All of it reads or writes the database, for whoever calls, as of now."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from accounts.callers import Caller
from accounts.scopes import Scope
from django.http import Http404
from runtime import decisions, events, idempotency
from runtime.models import ToolCall

from apps.chat import watching
from apps.chat.access import get_thread_for
from apps.chat.api import tasks
from apps.chat.api.doors import get_run_for, say
from apps.chat.api.frames import Decide, Listen, Send, Stop

SEND = "socket send"  # the door by which an Idempotency-Key was sent


class Listening(NamedTuple):
    """A session to be told of."""

    session_id: UUID
    cursor: str
    from_state: bool
    """Begins with how it stands."""


class Said(NamedTuple):
    run_id: UUID
    is_again: bool
    """The same frame came before."""
    listening: Listening


def send(caller: Caller, frame: Send, heard: frozenset[UUID]) -> Said:
    """`heard`: the sessions that are told of already. Raises Http404 and refusals."""
    caller.require(Scope.CHAT)
    if frame.session_id not in heard:
        watching.refuse_one_more(caller.user)
    cursor = events.START
    if frame.session_id is not None:
        cursor = watching.cursor_of(get_thread_for(caller.user, frame.session_id).pk)
    start = partial(say, caller.user, frame.message, assistant=frame.assistant, session_id=frame.session_id)
    run, is_again = idempotency.once(_named(caller, frame), start)
    return Said(run.pk, is_again, Listening(run.thread_id, cursor, is_again))


def _named(caller: Caller, frame: Send) -> idempotency.Named | None:
    if frame.idempotency_key is None:
        return None
    said = frame.model_dump(mode="json", exclude={"type", "ref", "idempotency_key"})
    return idempotency.named_as(caller.user, frame.idempotency_key, SEND, said)


def stop(caller: Caller, frame: Stop) -> None:
    caller.require(Scope.CHAT)
    tasks.stop(caller.user, get_run_for(caller.user, frame.run_id))


def resume(caller: Caller, frame: Listen, heard: frozenset[UUID]) -> Listening:
    caller.require(Scope.CHAT)
    if frame.session_id not in heard:
        watching.refuse_one_more(caller.user)
    thread = get_thread_for(caller.user, frame.session_id)
    cursor = watching.cursor_from(frame.after)
    is_lost = cursor == events.START and not watching.has_beginning(thread)
    return Listening(thread.pk, cursor, from_state=not frame.after or is_lost)


def decide(caller: Caller, frame: Decide) -> dict[str, Any]:
    """By the same service as everywhere; what is not in a thread of the caller's takes the scope and the permission."""
    call = ToolCall.objects.select_related("thread").filter(pk=frame.tool_call_id).first()
    decision = tasks.decision_of(frame.decision)
    is_own = call is not None and call.thread.owner_id == caller.user.pk
    if call is not None and is_own and Scope.APPROVE not in caller.scopes:
        caller.require(Scope.CHAT)
        decided = tasks.decide_own(caller, call, decision)
    else:
        caller.require(Scope.APPROVE)  # first: who may not decide does not learn what there is
        if call is None:
            raise Http404
        decided = decisions.decide(caller.user, call.pk, decision)
    return {"tool_call_id": str(decided.pk), "state": decided.state}
