"""What a person does on a thread: say something, stop the answer, take a tool call back."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST
from runtime import decisions, runs
from runtime.exceptions import RuntimeRefusal
from runtime.models import Role, Thread, ToolCall

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
    error, status = "", 200
    try:
        decisions.withdraw(request.user, call.pk)
    except RuntimeRefusal as refusal:
        error, status = str(refusal), refusal.status
    if request.htmx:
        return _card(request, thread, call, error, status)
    if error:
        return thread_page(request, thread, MessageForm(), error=error, status=status)
    return redirect("chat-thread", thread.pk)


def _card(request: ChatRequest, thread: Thread, call: ToolCall, error: str, status: int) -> HttpResponse:
    item = Turns(thread).card(calls_of(thread).get(pk=call.pk))
    return render(
        request, "chat/_tool_call.html", {"thread": thread, "item": item, "error": error}, status=status
    )
