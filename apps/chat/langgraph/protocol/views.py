"""The two routes: a thread's events as a stream that stays open, and a command."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.translation import gettext as _
from pydantic import ValidationError
from runtime import events, idempotency, strict_json

from apps.chat import watching
from apps.chat.langgraph.http import ApiRequest, Problem, answered, caller, problems_of
from apps.chat.langgraph.protocol import commands, envelopes, feed
from apps.chat.langgraph.protocol.envelopes import Json, Subscription
from apps.chat.langgraph.threads import get_thread
from apps.chat.watching import Watch


def stream_events(request: ApiRequest, thread_id: UUID) -> HttpResponseBase:
    """From strictly after `since`, or Last-Event-ID; without them from the thread's beginning."""
    thread = get_thread(request.user, thread_id)
    try:
        wanted = Subscription.model_validate(_sent(request))
    except ValidationError as error:
        raise Problem(problems_of(error), 400) from None
    watching.refuse_one_more(request.user)
    if wanted.since is None:
        wanted.since = envelopes.seq_from(request.headers.get("Last-Event-ID", ""))
    watch = watching.watch_thread(request, thread.pk, events.START)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(
        _frames(watch, wanted), content_type="text/event-stream; charset=utf-8", headers=headers
    )


async def _frames(watch: Watch, wanted: Subscription) -> AsyncGenerator[bytes]:
    with watching.counted(watch.caller.user):
        yield b": open\n\n"  # whoever waits for the answer's first byte need not wait for an event
        async with aclosing(feed.follow(watch, wanted)) as batches:
            async for batch in batches:
                if batch is None:
                    yield b": heartbeat\n\n"
                for each in batch or ():
                    yield _frame(each).encode()


def _frame(event: Json) -> str:
    id = f"id: {event['seq']}\n" if "seq" in event else ""
    return f"event: {event['method']}\n{id}data: {json.dumps(event, ensure_ascii=False)}\n\n"


def command(request: ApiRequest, thread_id: UUID) -> HttpResponse:
    """Carried out or not, the answer is 200 and says so; 400 for what is no command."""
    who, sent = caller(request), None
    try:
        sent = _sent(request)
    finally:
        commands.check_thread(who, thread_id, sent)  # first: others are not told what is wrong with a body
    try:
        read = commands.read(sent)
    except ValidationError as error:
        raise Problem(problems_of(error), 400) from None
    named = idempotency.named(request, request.user)
    door = commands.Door(who, thread_id, lambda work: idempotency.once(named, work))
    return answered(commands.perform(door, read))


def _sent(request: ApiRequest) -> Any:
    try:
        return strict_json.loads(request.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem(_("The body can't be read: %(why)s") % {"why": error}, 400) from None
