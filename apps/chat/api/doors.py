"""What the routes have in common: whose session or task it is, and how what they come to is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from accounts.callers import Caller, caller_of
from accounts.models import User
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Schema
from runtime import idempotency, runs
from runtime.exceptions import RuntimeRefusal
from runtime.idempotency import Started
from runtime.models import Assistant, Run, Thread
from runtime.schemas import RunFields

from apps.chat import assistants
from apps.chat.access import get_thread_for

EVENT = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("event", "data", "id")},
}
STREAM: dict[str, Any] = {
    "responses": {
        200: {
            "description": "Server-sent events: docs/reference/events.md.",
            "content": {"text/event-stream": {"schema": EVENT}},
        }
    }
}


class CantBeDone(RuntimeRefusal):
    """Not as things stand, or not as it was asked for."""

    def __init__(self, message: Any, status: int = 409) -> None:
        super().__init__(message)
        self.status = status


def caller(request: HttpRequest) -> Caller:
    return caller_of(request)


def get_session(request: HttpRequest, session_id: UUID) -> Thread:
    """Http404 unless it is theirs."""
    return get_thread_for(caller(request).user, session_id)


def get_task(request: HttpRequest, task_id: UUID) -> Run:
    """Http404 unless it is theirs."""
    return get_run_for(caller(request).user, task_id)


def get_run_for(user: User, run_id: UUID) -> Run:
    """The run, if it is this person's. Http404 otherwise."""
    mine = Run.objects.select_related("thread", "assistant").filter(
        thread__owner=user, thread__deleted_at__isnull=True, hidden_at__isnull=True
    )
    return get_object_or_404(mine, pk=run_id)


def once(request: HttpRequest, start: Callable[[], Run]) -> Started:
    """The run that `start` makes; or the one that came of the request the first time, by its Idempotency-Key."""
    return idempotency.once(idempotency.named(request, caller(request).user), start)


@transaction.atomic
def say(
    user: User,
    text: str,
    *,
    assistant: str | None,
    session_id: UUID | None = None,
    fields: RunFields | None = None,
) -> Run:
    """A turn begun with that message, in that session or a new one. Raises Http404 and RuntimeRefusal."""
    named = _assistant(assistant)
    if session_id is not None:
        thread = get_thread_for(user, session_id)
    else:
        thread = Thread.objects.create(owner=user, assistant=named or _default())
    return runs.send_message(thread, user, text, assistant=named, fields=fields)


def _assistant(name: str | None) -> Assistant | None:
    found = assistants.named(name) if name else None
    if name and found is None:
        raise CantBeDone(_("There is no assistant called %(name)s.") % {"name": name}, 422)
    return found


def _default() -> Assistant:
    found = assistants.default()
    if found is None:
        raise CantBeDone(_("There is no assistant yet. An administrator has to add one."))
    return found


def answered(answer: Schema, status: int = 200, **headers: str) -> JsonResponse:
    return JsonResponse(answer.model_dump(mode="json"), status=status, headers=headers)


def path_of_task(run_id: UUID) -> str:
    return reverse("api-1:show_task", args=[run_id])
