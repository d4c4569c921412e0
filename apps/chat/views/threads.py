"""The list, a thread, and what becomes of a whole thread."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import NoReverseMatch
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe
from runtime import runs
from runtime.exceptions import RuntimeRefusal
from runtime.models import Assistant, Thread

from apps.chat.access import USE_CHAT, ChatRequest, chat_user_required, get_thread_for
from apps.chat.deleting import delete_thread
from apps.chat.forms import MessageForm, NewThreadForm, TitleForm
from apps.chat.sidebar import page_of_threads
from apps.chat.timeline import FilledIn, composer_of, snapshot


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The list and a new thread. Staff who don't chat came for the queue."""
    user: Any = request.user
    if user.is_staff and not user.has_perm(USE_CHAT):
        return redirect(_queue_url())
    return _home(request)  # type: ignore[arg-type]


def _queue_url() -> str:
    try:
        return resolve_url("admin:approvals_approvalrequest_changelist")
    except NoReverseMatch:  # an installation without approvals
        return resolve_url("admin:index")


@chat_user_required
def _home(request: ChatRequest) -> HttpResponse:
    return _new_thread_page(request, NewThreadForm())


def _new_thread_page(
    request: ChatRequest, form: NewThreadForm, *, error: str = "", status: int = 200
) -> HttpResponse:
    assistants = list(Assistant.objects.filter(is_active=True))
    chosen = form["assistant"].value() or (str(assistants[0].pk) if assistants else "")
    context = {
        "threads": page_of_threads(request.user, request.GET.get("page")),
        "assistants": assistants,
        "chosen": str(chosen),
        "form": form,
        "error": error,
    }
    return render(request, "chat/home.html", context, status=status)


@require_POST
@chat_user_required
def new(request: ChatRequest) -> HttpResponse:
    """A thread begins with its first message: an empty one is never left behind."""
    form = NewThreadForm(request.POST)
    if not form.is_valid():
        return _new_thread_page(request, form, error=first_error(form), status=422)
    try:
        with transaction.atomic():
            thread = Thread.objects.create(owner=request.user, assistant=form.cleaned_data["assistant"])
            runs.send_message(thread, request.user, form.cleaned_data["text"])
    except RuntimeRefusal as refusal:
        return say_when(_new_thread_page(request, form, error=str(refusal), status=refusal.status), refusal)
    return redirect("chat-thread", thread.pk)


def say_when(response: HttpResponse, refusal: RuntimeRefusal) -> HttpResponse:
    """Adds after how many seconds it may go better, where waiting helps."""
    if refusal.retry_after:
        response["Retry-After"] = str(refusal.retry_after)
    return response


@require_GET
@chat_user_required
def sidebar(request: ChatRequest) -> HttpResponse:
    """The list as it stands now, for pages that stay open."""
    current = request.GET.get("current", "")
    return render(
        request, "chat/_threads.html", {"threads": page_of_threads(request.user), "current": current}
    )


@require_safe
@chat_user_required
def show(request: ChatRequest, thread_id: UUID) -> HttpResponse:
    return thread_page(request, get_thread_for(request.user, thread_id), MessageForm())


def thread_page(
    request: ChatRequest,
    thread: Thread,
    form: MessageForm,
    *,
    error: str = "",
    status: int = 200,
    filled_in: FilledIn | None = None,
) -> HttpResponse:
    context = {
        "thread": thread,
        "current": str(thread.pk),
        "threads": page_of_threads(request.user),
        "timeline": snapshot(thread, everything="all" in request.GET, filled_in=filled_in),
        "composer": composer_of(thread),
        "form": form,
        "error": error,
    }
    return render(request, "chat/thread.html", context, status=status)


@require_POST
@chat_user_required
def rename(request: ChatRequest, thread_id: UUID) -> HttpResponse:
    thread = get_thread_for(request.user, thread_id)
    form = TitleForm(request.POST)
    if not form.is_valid():
        return _not_renamed(request, thread, first_error(form))
    thread.title = form.cleaned_data["title"]
    thread.save(update_fields=["title"])
    if request.htmx:
        return render(request, "chat/_title.html", {"thread": thread})
    return redirect("chat-thread", thread.pk)


def _not_renamed(request: ChatRequest, thread: Thread, error: str) -> HttpResponse:
    if request.htmx:
        return render(request, "chat/_title.html", {"thread": thread, "error": error}, status=422)
    return thread_page(request, thread, MessageForm(), error=error, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@chat_user_required
def delete(request: ChatRequest, thread_id: UUID) -> HttpResponse:
    """Asks on GET, deletes on POST; refused while something on the thread could still happen."""
    thread = get_thread_for(request.user, thread_id)
    if request.method != "POST":
        return render(request, "chat/thread_confirm_delete.html", {"thread": thread})
    error = delete_thread(thread)
    if error:
        return render(
            request, "chat/thread_confirm_delete.html", {"thread": thread, "error": error}, status=409
        )
    messages.success(request, _("“%(title)s” was deleted.") % {"title": thread})
    return redirect("chat-home")


def first_error(form: Any) -> str:
    """The one error that is shown: these forms ask for one thing."""
    return str(next(iter(form.errors.values()))[0])
