"""A message, and its answer in the same request: whole, or as it comes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from uuid import UUID

from accounts.callers import CallerAuth, refused
from accounts.exceptions import Unauthenticated
from accounts.scopes import Scope
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from ninja import Router
from runtime import events
from runtime.database import in_database

from apps.chat import watching
from apps.chat.api import feed, shapes
from apps.chat.api.doors import STREAM, answered, caller, get_session, once, path_of_task, say
from apps.chat.api.schemas import NewMessage, Question, Reply, answers
from apps.chat.late import LateResponse
from apps.chat.watching import RunWatch

router = Router(tags=["chat"], auth=CallerAuth(Scope.CHAT))

REFUSALS = (404, 409, 413)
GOES_ON = ("pending", "running", shapes.INTERRUPTED)


@router.post("/chat", response=answers({200: Reply, 202: Reply}, *REFUSALS), summary="Ask, and wait")
def ask(request: HttpRequest, said: Question) -> HttpResponseBase:
    """The whole answer (200), as soon as it is there.

    202 when it is not there within `timeout` seconds, or something waits for a person (`interrupts`): nothing is lost,
    the run goes on, and `Location` is where to look. A run that failed is a 200 that says so.
    """
    watch = _begin(request, said)[0]
    return LateResponse(partial(_outcome_within, watch, said.timeout))


@router.post(
    "/chat/stream", response=answers({200: None}, *REFUSALS), openapi_extra=STREAM, summary="Ask, and listen"
)
def ask_and_listen(request: HttpRequest, said: NewMessage) -> HttpResponseBase:
    """The run as it goes, as server-sent events; the last is `end`.

    The same events have the same ids in `/events/{session_id}`: whoever loses this stream goes on there.
    """
    watch, is_again = _begin(request, said)
    response = feed.response(watch, from_state=is_again)
    response["Location"] = path_of_task(watch.run.pk)
    return response


def _begin(request: HttpRequest, said: NewMessage) -> tuple[RunWatch, bool]:
    """The run that is watched, from before its first event; and whether it had been begun before."""
    user = caller(request).user
    watching.refuse_one_more(user)
    cursor = events.START
    if said.session_id is not None:
        cursor = watching.cursor_of(get_session(request, said.session_id).pk)
    start = partial(say, user, said.message, assistant=said.assistant, session_id=said.session_id)
    run, is_again = once(request, start)
    return watching.watch_run(request, run, cursor), is_again


async def ended_within(watch: RunWatch, timeout: float) -> bool:
    """Waits for the run's end at most so long. False when whoever waits may not be told any more."""
    with watching.counted(watch.caller.user):
        try:
            async with asyncio.timeout(timeout), aclosing(watching.batches(watch)) as log:
                async for _batch in log:
                    pass
        except TimeoutError:
            pass
    return (await in_database(watching.standing, watch)).may_watch


async def _outcome_within(watch: RunWatch, timeout: float) -> HttpResponse:
    if not await ended_within(watch, timeout):
        return refused(Unauthenticated())
    outcome = await in_database(shapes.outcome, watch.run.pk)
    if outcome.status in GOES_ON:
        return answered(outcome, 202, Location=path_of_task(outcome.run_id))
    return answered(outcome)


@router.get(
    "/events/{uuid:session_id}",
    response=answers({200: None}, 404),
    openapi_extra=STREAM,
    summary="Listen to a session",
    url_name="follow_session",
)
def follow_session(request: HttpRequest, session_id: UUID, last_event_id: str = "") -> HttpResponseBase:
    """All that goes on in a session, as server-sent events, for as many clients as like to listen.

    With `Last-Event-ID` (the header, or `last_event_id`) strictly after that one; `0` is from the beginning. Without,
    the stream begins with `session`: how it stands. It goes on from run to run, and closes when the session has been
    idle for a minute.
    """
    watching.refuse_one_more(caller(request).user)
    thread = get_session(request, session_id)
    after = request.headers.get("Last-Event-ID", last_event_id)
    cursor = watching.cursor_from(after)
    from_state = not after or (cursor == events.START and not watching.has_beginning(thread))
    return feed.response(watching.watch_thread(request, thread.pk, cursor), from_state=from_state)
