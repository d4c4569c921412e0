"""What was said in a session, and beginning anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from accounts.callers import CallerAuth
from accounts.scopes import Scope
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router
from runtime.models import Message, Thread

from apps.chat.api import shapes
from apps.chat.api.doors import CantBeDone, answered, get_session
from apps.chat.api.schemas import History, NewSession, Page, SessionName, answers
from apps.chat.deleting import delete_thread

router = Router(tags=["sessions"], auth=CallerAuth(Scope.CHAT))

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@router.get("/history/{uuid:session_id}", response=answers({200: History}, 404), summary="What was said")
def history(request: HttpRequest, session_id: UUID, page: Query[Page]) -> HttpResponse:
    """The newest messages, oldest first; `before` of the answer is for those before them."""
    return answered(history_of(get_session(request, session_id), page.limit, page.before))


def history_of(thread: Thread, limit: int, before: str = "") -> History:
    """The newest `limit` messages, or those before the place that `before` of another History names."""
    newest = _before(thread.messages.all(), before).order_by("-created_at", "-pk")
    rows = list(newest[: limit + 1])
    has_more, rows = len(rows) > limit, rows[:limit]
    return History(
        session_id=thread.pk,
        messages=[shapes.message(row) for row in reversed(rows)],
        before=_place(rows[-1]) if has_more else None,
    )


def _place(row: Message) -> str:
    """Where a message stands: not its row, which may go."""
    return f"{(row.created_at - EPOCH) // timedelta(microseconds=1)}-{row.pk}"


def _before(messages: QuerySet[Message], place: str) -> QuerySet[Message]:
    if not place:
        return messages
    try:
        micros, pk = map(int, place.split("-"))
        at = EPOCH + timedelta(microseconds=micros)
        if not 0 < pk < 2**63:
            raise ValueError(pk)
    except (ValueError, OverflowError):
        raise CantBeDone(_("before: as a page of the history named it."), 422) from None
    return messages.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=pk))


@router.post("/reset", response=answers({200: NewSession}, 404, 409, 413), summary="Begin anew")
def reset(request: HttpRequest, given: SessionName) -> HttpResponse:
    """A new, empty session with the same assistant. The former one is deleted: for you it is gone, its record stays.

    409 while something is under way in it, or waits for a decision: stop it or withdraw it first.
    """
    return answered(NewSession(session_id=begin_anew(get_session(request, given.session_id)).pk))


@transaction.atomic
def begin_anew(thread: Thread) -> Thread:
    """Raises CantBeDone."""
    if obstacle := delete_thread(thread):
        raise CantBeDone(obstacle)
    return Thread.objects.create(owner=thread.owner, assistant=thread.assistant)
