"""The state of a thread: read from its row where that is up to date, else by a worker."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils.translation import gettext as _
from runtime import calls
from runtime.exceptions import ThreadWaiting
from runtime.models import HOLDS_INPUT, UNSETTLED, Thread, ThreadState

from apps.chat.langgraph import answers, inputs, shapes
from apps.chat.langgraph.bodies import AtCheckpoint, History, StateUpdate
from apps.chat.langgraph.http import ApiRequest, Problem, answered, body_of, caller, number
from apps.chat.langgraph.threads import get_thread

END = "__end__"


def current(thread: Thread) -> ThreadState | None:
    """Where the thread came to rest last; None where nothing ever ran. Raises NoWorker when only one can tell."""
    row = ThreadState.objects.filter(thread=thread).first()
    last = ThreadState.last_run(thread.pk)
    if last is None or (row is not None and row.run_id == last.pk):
        return row
    calls.ask("state", thread_id=str(thread.pk))  # a page began what ran last
    return ThreadState.objects.filter(thread=thread).first()


def show(request: ApiRequest, thread_id: UUID, checkpoint_id: str = "") -> HttpResponse:
    thread = get_thread(request.user, thread_id)
    if not checkpoint_id:
        return answered(shapes.of_state(current(thread)))
    return answered(calls.ask("state", thread_id=str(thread.pk), checkpoint_id=checkpoint_id[:100]))


def at_checkpoint(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    return show(request, thread_id, body_of(request, AtCheckpoint).named_checkpoint() or "")


def history(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    thread = get_thread(request.user, thread_id)
    return _history(thread, body_of(request, History))


def history_by_query(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    thread = get_thread(request.user, thread_id)
    limit = max(1, number(request, "limit", 10, most=100))
    return _history(thread, History(limit=limit, before=request.GET.get("before")))


def _history(thread: Thread, body: History) -> HttpResponse:
    has_none = (
        ThreadState.last_run(thread.pk) is None and not ThreadState.objects.filter(thread=thread).exists()
    )
    if has_none:
        return answered([])
    before = _checkpoint_id(body.before)
    metadata = body.metadata or None
    return answered(
        calls.ask("history", thread_id=str(thread.pk), limit=body.limit, before=before, metadata=metadata)
    )


def _checkpoint_id(before: str | dict[str, Any] | None) -> str | None:
    """From an id, a checkpoint, or a configuration that holds one."""
    if isinstance(before, dict):
        inner = before.get("configurable", before)
        before = inner.get("checkpoint_id") if isinstance(inner, dict) else None
    if before is not None and (not isinstance(before, str) or len(before) > 100):
        raise Problem(_("before: the id of a checkpoint, or a checkpoint."))
    return before


def update(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    thread = get_thread(request.user, thread_id)
    body = body_of(request, StateUpdate)
    if answers.is_waiting(thread):
        if body.as_node != END or body.values:
            raise Problem(_("A tool call of this thread waits: decide on it, or withdraw it."), 409)
        answers.withdraw(caller(request), thread, {})
        return answered({"checkpoint": (row := current(thread)) and row.checkpoint})
    _refuse_other_than_newest(thread, body.named_checkpoint())
    values = inputs.clean(body.values) if body.values else body.values
    return answered(
        calls.ask(
            "update_state",
            thread_id=str(thread.pk),
            values=values,
            as_node=body.as_node,
            user_id=request.user.pk,
        )
    )


def is_newest(thread: Thread, checkpoint_id: str) -> bool:
    """Clients name the newest with everything they send. Raises Problem where nothing ever ran."""
    state = current(thread)
    if state is None or not state.checkpoint:
        raise Problem(_("The thread has no such checkpoint."), 404)
    return bool(checkpoint_id == state.checkpoint["checkpoint_id"])


def check_fork(thread: Thread, checkpoint_id: str, *, has_input: bool) -> None:
    """Refuses to begin at an earlier checkpoint where something waits or is unfinished, or that does not do."""
    refuse_unsettled(thread)
    calls.ask("check_fork", thread_id=str(thread.pk), checkpoint_id=checkpoint_id, has_input=has_input)


def refuse_unsettled(thread: Thread) -> None:
    if thread.tool_calls.filter(state__in={*UNSETTLED, *HOLDS_INPUT}).exists():
        raise ThreadWaiting


def gone_on() -> str:
    return _("The thread has gone on since that checkpoint. Read its state again.")


def _refuse_other_than_newest(thread: Thread, checkpoint_id: str | None) -> None:
    if checkpoint_id and not is_newest(thread, checkpoint_id):
        raise Problem(gone_on(), 409)
