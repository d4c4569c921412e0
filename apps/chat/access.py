"""Who may use the chat, and which threads are theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast
from uuid import UUID

from accounts.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, resolve_url
from django.utils.translation import gettext_lazy as _
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails
from runtime.models import Thread

USE_CHAT = "runtime.add_run"
NO_ROLE = _("Your account may not talk to assistants. Ask an administrator for the role Chat users.")

Params = ParamSpec("Params")


class ChatRequest(HttpRequest):
    """A request of somebody who may use the chat."""

    user: User
    htmx: HtmxDetails


def chat_user_required(
    view: Callable[Concatenate[ChatRequest, Params], HttpResponse],
) -> Callable[Concatenate[ChatRequest, Params], HttpResponse]:
    """Lets through whoever may start runs. Others sign in first, or are told why they may not."""

    @wraps(view)
    def checked(request: ChatRequest, *args: Params.args, **kwargs: Params.kwargs) -> HttpResponse:
        if not cast(HttpRequest, request).user.is_authenticated:
            return to_sign_in(request)
        if not request.user.has_perm(USE_CHAT):
            raise PermissionDenied(NO_ROLE)
        return view(request, *args, **kwargs)

    return cast(Callable[Concatenate[ChatRequest, Params], HttpResponse], checked)


def to_sign_in(request: ChatRequest) -> HttpResponse:
    """A redirect to the sign-in page; for a fragment, one that the whole page follows."""
    if request.htmx:
        # The fragment's own address takes no GET: go back to the page it was asked from.
        page = request.htmx.current_url_abs_path or resolve_url("chat-home")
        return HttpResponseClientRedirect(redirect_to_login(page).url)
    back = request.get_full_path() if request.method == "GET" else resolve_url("chat-home")
    return redirect_to_login(back)


def get_thread_for(user: User, thread_id: UUID) -> Thread:
    """The thread, if it is this person's. Http404 otherwise: whose it is, or that it is, is nobody's business."""
    return get_object_or_404(Thread.objects.of(user).select_related("assistant"), pk=thread_id)
