"""What a person does on a thread: say something, stop the answer, answer what it asks, take a tool call back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from runtime import decisions, runs
from runtime.decisions import AnswerForm
from runtime.exceptions import InvalidDecision, RuntimeRefusal
from runtime.models import CallKind, Role, Thread, ToolCall
from runtime.schemas import Decision, DecisionType

from apps.chat.access import ChatRequest, chat_user_required, get_thread_for
from apps.chat.forms import MessageForm
from apps.chat.timeline import ENOUGH, Turns, calls_of, composer_of, unsettled
from apps.chat.views.threads import first_error, say_when, thread_page


@require_POST
@chat_user_required
def send(request: ChatRequest, thread_id: UUID) -> HttpResponse:
    thread = get_thread_for(request.user, thread_id)
    form = MessageForm(request.POST)
    if not form.is_valid():
        return _refused(request, thread, form, first_error(form), 422)
    try:
        run = runs.send_message(thread, request.user, form.cleaned_data["text"])
    except RuntimeRefusal as refusal:
        return say_when(_refused(request, thread, form, str(refusal), refusal.status), refusal)
    if not request.htmx:
        return redirect("chat-thread", thread.pk)
    turns = Turns(thread, newest=ENOUGH)
    items = [turns.message(row) for row in run.messages.filter(role=Role.HUMAN)]
    context = {"thread": thread, "composer": turns.composer(unsettled(thread)), "items": items}
    return render(request, "chat/_sent.html", context)


def _refused(
    request: ChatRequest, thread: Thread, form: MessageForm, error: str, status: int
) -> HttpResponse:
    """The composer again, with what was typed and why it was not taken."""
    if not request.htmx:
        return thread_page(request, thread, form, error=error, status=status)
    context = {"thread": thread, "composer": composer_of(thread), "form": form, "error": error}
    return render(request, "chat/_composer.html", context, status=status)


@require_POST
@chat_user_required
def stop(request: ChatRequest, thread_id: UUID) -> HttpResponse:
    thread = get_thread_for(request.user, thread_id)
    active = composer_of(thread).run
    if active is not None:
        runs.cancel_run(active)
    if not request.htmx:
        return redirect("chat-thread", thread.pk)
    return render(request, "chat/_composer.html", {"thread": thread, "composer": composer_of(thread)})


@require_POST
@chat_user_required
def withdraw(request: ChatRequest, thread_id: UUID, tool_call_id: UUID) -> HttpResponse:
    thread = get_thread_for(request.user, thread_id)
    call = get_object_or_404(thread.tool_calls, pk=tool_call_id)
    return _settled(request, thread, call, partial(decisions.withdraw, request.user, call.pk))


@require_POST
@chat_user_required
def answer(request: ChatRequest, thread_id: UUID, tool_call_id: UUID) -> HttpResponse:
    """The requester answers a question, or confirms what the policy lets them confirm."""
    thread = get_thread_for(request.user, thread_id)
    call = get_object_or_404(thread.tool_calls, pk=tool_call_id)
    form = None
    if call.kind == CallKind.QUESTION and request.POST.get("decision") == "respond":
        form = decisions.answer_form(call, request.POST)
    return _settled(request, thread, call, partial(_decide, request, call, form), form)


def _decide(request: ChatRequest, call: ToolCall, form: AnswerForm | None) -> None:
    """Hands what was posted to the decision port, which knows who may. Raises its refusals."""
    kind, digest = request.POST.get("decision", ""), request.POST.get("digest", "")
    decision = Decision(type=cast(DecisionType, kind), digest=digest)
    if form is not None:
        if not form.is_valid():
            raise InvalidDecision(_("Your answer was not sent. Please mend what is marked."))
        decision["answer"] = form.answer
    decisions.decide(request.user, call.pk, decision)


def _settled(
    request: ChatRequest,
    thread: Thread,
    call: ToolCall,
    settle: Callable[[], object],
    form: AnswerForm | None = None,
) -> HttpResponse:
    """The card, or without htmx the page, after `settle`, or with why it was refused and what was typed."""
    error, status = "", 200
    try:
        settle()
    except RuntimeRefusal as refusal:
        error, status = str(refusal), refusal.status
    filled_in = {call.pk: form} if form is not None and error else None
    if request.htmx:
        item = Turns(thread, filled_in=filled_in).card(calls_of(thread).get(pk=call.pk))
        context = {"thread": thread, "item": item, "error": error}
        return render(request, "chat/_tool_call.html", context, status=status)
    if error:
        return thread_page(request, thread, MessageForm(), error=error, status=status, filled_in=filled_in)
    return redirect("chat-thread", thread.pk)
