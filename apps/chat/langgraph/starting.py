"""From what a client sends to a run: the checks, and the one call into the engine."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from accounts.callers import Caller
from django.db import IntegrityError, transaction
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from runtime import runs
from runtime.models import Assistant, Run, Thread, ThreadState
from runtime.schemas import RunFields

from apps.chat.assistants import named
from apps.chat.langgraph import answers, inputs, states, threads, webhooks
from apps.chat.langgraph.bodies import Command, RunCreate
from apps.chat.langgraph.http import Problem

END = "__end__"
INVALID = "Invalid assistant."  # what clients look for in the text


def start(caller: Caller, thread_id: UUID | None, body: RunCreate) -> Run:
    """A run on that thread, or on one of its own. Raises Problem, Refusal and RuntimeRefusal: then none was made."""
    assistant = named(body.assistant_id)
    if assistant is None:
        raise Problem(f"{INVALID} {_('There is none called %(name)s.') % {'name': body.assistant_id[:100]}}")
    _refuse_unsupported(body)
    fields = _fields(body, is_stateless=thread_id is None)
    if body.command is not None and _says(body.command):
        return _command(caller, thread_id, body, fields)
    input = _input(body)
    found = _from(caller, thread_id, body)  # asks a worker: the thread is not locked meanwhile
    with transaction.atomic():
        thread = _thread(caller, thread_id, body, assistant)
        is_fork = _begin_from(thread, found, fields)
        if input is None and not is_fork:
            raise Problem(_("There is nothing to run: send input, or a command."))
        threads.mark(thread, assistant)
        return runs.create_run(
            thread,
            user=caller.user,
            input=input,
            when_busy=body.multitask_strategy,
            when_waiting="refuse" if is_fork else None,
            assistant=assistant,
            fields=fields,
        )


def check(body: RunCreate) -> None:
    """Raises Problem for what no run can be begun with, whenever it is tried."""
    _refuse_unsupported(body)
    if _input(body) is None:
        raise Problem(_("There is nothing to run: send input, or a command."))


def _input(body: RunCreate) -> dict[str, Any] | None:
    if body.input is None:
        return None
    input = inputs.clean(body.input)
    if not input.get("messages", True):
        raise Problem(_("There is nothing to run: send a message."))
    return input


@dataclass(frozen=True)
class _From:
    """The checkpoint that a body names, as it was found before the thread was locked."""

    last: Run | None
    """What had run last by then."""
    fork: str | None
    """Null: it was the newest."""


def _from(caller: Caller, thread_id: UUID | None, body: RunCreate) -> _From | None:
    """None where the body names no checkpoint. Raises Problem and RuntimeRefusal where no run can begin at it."""
    checkpoint_id = _checkpoint_id(body)
    if checkpoint_id is None:
        return None
    thread = Thread.objects.of(caller.user).filter(pk=thread_id).first() if thread_id else None
    if thread is None:
        raise Http404
    last = ThreadState.last_run(thread.pk)
    if states.is_newest(thread, checkpoint_id):
        return _From(last, None)
    states.check_fork(thread, checkpoint_id, has_input=body.input is not None)
    return _From(last, checkpoint_id)


def _begin_from(thread: Thread, found: _From | None, fields: RunFields) -> bool:
    """Notes an earlier checkpoint; False where it is the newest, or none was named. For who holds the thread."""
    if found is None:
        return False
    if found.fork is None:
        if ThreadState.last_run(thread.pk) != found.last:
            raise Problem(states.gone_on(), 409)
        return False
    states.refuse_unsettled(thread)  # since the worker was asked
    fields["options"]["checkpoint_id"] = found.fork
    return True


def _refuse_unsupported(body: RunCreate) -> None:
    if body.interrupt_before or body.interrupt_after:
        raise Problem(_("A breakpoint asks nobody anything. Call interrupt() in a node instead."))
    threads.refuse_unsupported(body, "after_seconds")
    if body.webhook is not None:
        webhooks.check(body.webhook)
    if body.context is not None and body.config and body.config.configurable:
        raise Problem(_("Send either context or config.configurable, not both."), 400)


def _says(command: Command) -> bool:
    return bool(command.model_fields_set & {"resume", "goto", "update"})


def _command(caller: Caller, thread_id: UUID | None, body: RunCreate, fields: RunFields) -> Run:
    if thread_id is None:
        raise Problem(_("A command is for a thread."), 400)
    command = body.command or Command()
    thread = threads.get_thread(caller.user, thread_id)
    if command.goto in (END, [END]) and command.resume is None and not command.update:
        return answers.withdraw(caller, thread, fields)
    if command.goto or command.update:
        if answers.is_waiting(thread):
            raise Problem(_("A tool call of this thread waits: decide on it, or withdraw it."), 409)
        raise Problem(_("goto and update are not supported."))
    return answers.resume(caller, thread, command.resume, fields)


def _thread(caller: Caller, thread_id: UUID | None, body: RunCreate, assistant: Assistant) -> Thread:
    mine = Thread.objects.of(caller.user).select_for_update(no_key=True)
    thread = mine.filter(pk=thread_id).first() if thread_id else None
    if thread is not None:
        return thread
    if thread_id and (body.if_not_exists == "reject" or Thread.objects.filter(pk=thread_id).exists()):
        raise Http404
    new_id = thread_id or uuid4()
    with suppress(IntegrityError), transaction.atomic():  # of two at once, the second finds the first's
        threads.make(caller.user, new_id, threads.mark_of(assistant))
    return get_object_or_404(mine, pk=new_id)


def _checkpoint_id(body: RunCreate) -> str | None:
    configurable = (body.config.configurable if body.config else None) or {}
    if configurable.get("checkpoint_ns") or (body.checkpoint and body.checkpoint.checkpoint_ns):
        raise Problem(_("A run begins from a checkpoint of the graph itself, not of a subgraph."))
    named = body.named_checkpoint() or configurable.get("checkpoint_id") or None
    if named is not None and not (isinstance(named, str) and len(named) <= 100):
        raise Problem(_("checkpoint_id: a text of at most 100 characters."))
    return named


def _fields(body: RunCreate, *, is_stateless: bool) -> RunFields:
    fields: RunFields = {
        "options": {
            "stream_mode": body.stream_mode,
            "stream_subgraphs": body.stream_subgraphs,
            "multitask_strategy": body.multitask_strategy,
            "on_disconnect": body.on_disconnect,
            "on_completion": body.on_completion if is_stateless else "keep",
        }
    }
    if body.durability:
        fields["options"]["durability"] = body.durability
    if body.webhook is not None:
        fields["webhook"] = body.webhook
    if body.metadata:
        fields["metadata"] = body.metadata
    if body.context is not None:
        fields["context"] = body.context
    if body.config is not None:
        fields["config"] = inputs.config(body.config)
    return fields
