"""Work that nobody waits for: begun, looked at, stopped, and gone on with."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from accounts.callers import Caller, CallerAuth
from accounts.exceptions import OutOfScope
from accounts.models import User
from accounts.scopes import Scope
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Router
from runtime import decisions, runs
from runtime.models import UNSETTLED, CallKind, Role, Run, RunStatus, ToolCall
from runtime.schemas import Decision, RunFields

from apps.chat import assistants
from apps.chat.api import shapes
from apps.chat.api.doors import CantBeDone, answered, caller, get_task, once, path_of_task, say
from apps.chat.api.schemas import Judgement, NewTask, Resume, Task, answers

router = Router(tags=["tasks"], auth=CallerAuth(Scope.CHAT))

FAILED = (RunStatus.ERROR, RunStatus.TIMEOUT)


@router.post("/tasks", response=answers({202: Task}, 409, 413), summary="Begin a task")
def begin(request: HttpRequest, wanted: NewTask) -> HttpResponse:
    """Answers at once. `events` streams what comes of it, `Location` is where to ask how it stands."""
    name = wanted.assistant or settings.TASK_ASSISTANT or _writer()
    fields = _fields(wanted)
    start = partial(say, caller(request).user, _brief(wanted), assistant=name, fields=fields)
    return _accepted(once(request, start).run)


def _writer() -> str | None:
    """The graph that is there for tasks, where it is offered."""
    return settings.TASK_GRAPH if assistants.named(settings.TASK_GRAPH) else None


@router.get(
    "/tasks/{uuid:task_id}", response=answers({200: Task}, 404), summary="How it stands", url_name="show_task"
)
def show(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """The id of any run of yours is one of a task: `/chat` names its own in `Location`."""
    return answered(shapes.task(get_task(request, task_id)))


@router.post("/tasks/{uuid:task_id}/cancel", response=answers({202: Task}, 404, 409), summary="Stop a task")
def cancel(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """A task at work stops at once. One that waits takes back what it asked, and ends with what is said to that."""
    task = get_task(request, task_id)
    stop(caller(request).user, task)
    return _accepted(task)


@router.post(
    "/tasks/{uuid:task_id}/resume", response=answers({202: Task}, 404, 409, 413), summary="Go on with a task"
)
def resume(request: HttpRequest, task_id: UUID, given: Resume) -> HttpResponse:
    """With a decision on what waits, as the caller: whoever may not decide is refused (403).

    A task that failed is tried again, as a new task in the same session; what its tools did is known to it.
    """
    task = get_task(request, task_id)
    if given.type is None:
        return _accepted(once(request, partial(_try_again, caller(request), task)).run)
    once(request, partial(_decide, caller(request), task, given))
    return _accepted(task)


def _accepted(run: Run) -> HttpResponse:
    return answered(shapes.task(run), 202, Location=path_of_task(run.pk))


# Beginning


def _brief(wanted: NewTask) -> str:
    """What the person says to begin it."""
    config = wanted.config
    asked = {
        _("Mode"): wanted.mode,
        _("Audience"): config.target_audience,
        _("Depth"): config.depth_level,
        _("Length in words"): config.target_length,
    }
    return "\n".join([wanted.topic, "", *(f"{name}: {value}" for name, value in asked.items() if value)])


def _fields(wanted: NewTask) -> RunFields:
    """The same for a graph that looks for it in its configuration."""
    config: dict[str, Any] = wanted.config.model_dump()
    configurable = {"topic": wanted.topic, "mode": wanted.mode, **config}
    return {
        "metadata": {"mode": wanted.mode, "topic": wanted.topic},
        "config": {"configurable": configurable},
    }


# Stopping, and going on


def stop(user: User, task: Run) -> None:
    """At once; one that waits takes back what it asked. Raises CantBeDone."""
    run = shapes.chain(task)[-1]
    if run.status == RunStatus.WAITING:
        _withdraw(user, run)
    elif not runs.cancel_run(run):
        raise CantBeDone(_("This task has ended: there is nothing to cancel."))


def _try_again(caller: Caller, task: Run) -> Run:
    """The same words once more: what an earlier try did stays in the thread, and is not done again by itself."""
    last = shapes.chain(task)[-1]
    if last.status == RunStatus.WAITING:
        raise CantBeDone(_("The task waits for a decision: send one, with its type."), 422)
    if last.status not in FAILED:
        raise CantBeDone(_("Only a task that failed can be tried again."))
    first = last
    while first.resumes is not None:
        first = first.resumes
    said = first.messages.filter(role=Role.HUMAN).first()
    if said is None:
        raise CantBeDone(_("Nobody said anything to begin this task: begin a new one."))
    fields: RunFields = {"metadata": first.metadata or {}, "config": first.config or {}}
    if first.options is not None:  # the state it leaves is read by the program that began it
        fields["options"] = {"stream_mode": []}
    return runs.send_message(
        first.thread, caller.user, said.content, assistant=first.assistant, fields=fields
    )


def _decide(caller: Caller, task: Run, given: Resume) -> Run:
    """The run that is at it after the decision; the one that waits where others have to decide as well."""
    call = _waiting_call(task, given.tool_call_id)
    decide_own(caller, call, decision_of(given))
    return shapes.chain(task)[-1]


def decide_own(caller: Caller, call: ToolCall, decision: Decision) -> ToolCall:
    """On a call in a thread of the caller's; whether it is theirs to decide, the decision service says."""
    # A key that may chat does not thereby decide; a question of the graph is part of the chat.
    if Scope.APPROVE not in caller.scopes and call.kind != CallKind.QUESTION:
        raise OutOfScope()
    return decisions.decide(caller.user, call.pk, decision)


def _waiting_call(task: Run, tool_call_id: UUID | None) -> ToolCall:
    waiting = ToolCall.objects.filter(thread=task.thread_id, state__in=UNSETTLED)
    if tool_call_id is not None:
        waiting = waiting.filter(pk=tool_call_id)
    found = list(waiting[:2])
    if not found:
        raise CantBeDone(_("Nothing of this task waits for an answer."))
    if len(found) > 1:
        raise CantBeDone(_("Several tool calls wait: say which one, by tool_call_id."), 422)
    return found[0]


def decision_of(given: Judgement) -> Decision:
    sent = given.model_dump(exclude_unset=True)
    decision: Decision = {"type": sent["type"]}
    if sent.get("args") is not None:
        decision["args"] = sent["args"]
    if sent.get("message"):
        decision["message"] = sent["message"]
    if "answer" in sent:
        decision["answer"] = sent["answer"]
    if sent.get("digest"):
        decision["digest"] = sent["digest"]
    return decision


@transaction.atomic
def _withdraw(user: User, run: Run) -> None:
    for call in ToolCall.objects.filter(thread=run.thread_id, state__in=UNSETTLED):
        decisions.withdraw(user, call.pk)
