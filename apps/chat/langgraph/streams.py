"""A run as it goes, for one client: frames of server-sent events, or the outcome once it is there.

All of them read the thread's log. While Redis is away, or has lost the log, the row of the run says how it stands.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from accounts.callers import Caller
from accounts.models import ApiKey, User
from accounts.scopes import PERMISSIONS, Scope
from accounts.sessions import people_of
from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _
from redis.exceptions import RedisError
from runtime import events
from runtime.database import in_database
from runtime.models import ACTIVE, Run, ThreadState
from runtime.redis_client import redis_client
from runtime.runs import cancel_run
from runtime.schemas import Event

from apps.chat.langgraph import shapes
from apps.chat.langgraph.http import Problem

logger = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two signs of life; clients learn the rhythm and reconnect when it stops
STREAMS_EACH = 20  # that one person may have open in this process

_open: Counter[int] = Counter()
_cancelling: set[asyncio.Task[Any]] = set()  # kept: the loop itself would forget them


@dataclass(frozen=True)
class Watch:
    """Who watches which run, and from where in its thread's log."""

    run: Run
    caller: Caller
    cursor: str
    session_key: str = ""
    """Of a page that watches: it ends with the sign-out."""


@dataclass(frozen=True)
class Standing:
    """How it stands with the run, and with whoever watches."""

    is_ended: bool
    may_watch: bool


def refuse_one_more(user: User) -> None:
    if _open[user.pk] >= STREAMS_EACH:
        raise Problem(_("You have too many streams open. Close one of them."), 429)


def cursor_of(thread_id: UUID | None) -> str:
    """The end of the thread's log as it is now; its beginning while Redis is away, or there is none."""
    if thread_id is None:
        return events.START
    try:
        newest = cast(list[Any], redis_client().xrevrange(events.log_key(thread_id), count=1))
    except RedisError:
        return events.START
    return newest[0][0].decode() if newest else events.START


def cursor_from(last_event_id: str) -> str:
    """Where a client goes on; the beginning when it asks for all, or names no id of ours."""
    try:
        return last_event_id if min(events.position(last_event_id)) >= 0 else events.START
    except ValueError:
        return events.START


# Responses


def as_events(
    watch: Watch, modes: list[str], *, cancels: bool, is_live: bool = False
) -> StreamingHttpResponse:
    """`is_live`: of a run that has ended by then nothing is told but that."""
    content = _counted(watch, _frames(watch, set(modes), is_live=is_live), cancels=cancels)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(content, content_type="text/event-stream; charset=utf-8", headers=headers)


def as_outcome(watch: Watch, *, cancels: bool) -> StreamingHttpResponse:
    return _patient(watch, shapes.outcome, cancels=cancels)


def as_run(watch: Watch) -> StreamingHttpResponse:
    return _patient(watch, lambda run, _state: shapes.of_run(run), cancels=False)


def _patient(watch: Watch, shape: Any, *, cancels: bool) -> StreamingHttpResponse:
    """JSON at the end, and a new line now and then before it, which keeps what is in between from giving up."""

    async def content() -> AsyncGenerator[str]:
        async for batch in _batches(watch):
            if batch is None:
                yield "\n"
        yield json.dumps(shape(*await in_database(_end_of, watch.run)))

    return StreamingHttpResponse(_counted(watch, content(), cancels=cancels), content_type="application/json")


async def _counted(watch: Watch, content: AsyncGenerator[str], *, cancels: bool) -> AsyncGenerator[bytes]:
    """Counts the stream while it is open, and stops the run of a client that left, where it asked for that."""
    person = watch.caller.user.pk
    _open[person] += 1
    is_whole = False
    try:
        async with aclosing(content):
            async for piece in content:
                yield piece.encode()
        is_whole = True
    finally:
        _open[person] -= 1
        if not _open[person]:
            del _open[person]
        if cancels and not is_whole:
            _cancelling.add(task := asyncio.ensure_future(in_database(cancel_run, watch.run)))
            task.add_done_callback(_cancelling.discard)


# Frames


def frame(event: str, data: Any, id: str) -> str:
    # One line: JSON has no line break of its own.
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\nid: {id}\n\n"


async def _frames(watch: Watch, modes: set[str], *, is_live: bool) -> AsyncGenerator[str]:
    id, has_gap = watch.cursor, False
    if is_live and (await in_database(_standing, watch)).is_ended:
        yield frame("end", None, id)
        return
    yield frame("metadata", {"run_id": str(watch.run.pk), "attempt": 1}, id)
    is_told = False
    async for batch in _batches(watch):
        if batch is None:
            yield ": heartbeat\n\n"
            continue
        for event in batch:
            id = event["id"]
            data = event["data"]
            is_told |= _ends(event, watch.run)
            has_gap |= event["event"] == "reset" or bool(data.get("gap") and data["mode"] in modes)
            if event["event"] == "wire" and data["mode"] in modes and "event" in data:
                yield frame(data["event"], data["data"], id)
    streamed = (watch.run.options or {}).get("stream_mode", [])
    is_complete = is_told and not has_gap and "values" in streamed
    async for last in _last(watch, id, with_values="values" in modes and not is_complete):
        yield last


async def _last(watch: Watch, id: str, *, with_values: bool) -> AsyncIterator[str]:
    """How it ended; with the values where the log does not have them any more."""
    run, state = await in_database(_end_of, watch.run)
    if run.status in ACTIVE:  # whoever watched may no longer
        return
    if run.status in shapes.ENDED_BADLY:
        yield frame("error", shapes.error_of(run), id)
    elif with_values:
        yield frame("values", shapes.outcome(run, state), id)
    yield frame("end", None, id)


# Following


async def _batches(watch: Watch) -> AsyncGenerator[list[Event] | None]:
    """The run's events until its end, as they come; None every BEAT seconds. Ends early for who may not watch."""
    run, cursor = watch.run, watch.cursor
    if (await in_database(_standing, watch)).is_ended:
        yield await _rest(run, cursor)
        return
    loop = asyncio.get_running_loop()
    due = loop.time() + BEAT
    async with aclosing(cast(AsyncGenerator[list[Event]], events.follow(run.thread_id, cursor))) as log:
        coming = asyncio.ensure_future(anext(log))
        try:
            while True:
                await asyncio.wait({coming}, timeout=max(0.0, due - loop.time()))
                if loop.time() >= due:
                    due += BEAT
                    yield None
                    standing = await in_database(_standing, watch)
                    if not standing.may_watch:
                        return
                    if standing.is_ended and not coming.done():
                        yield await _rest(run, cursor)
                        return
                if not coming.done():
                    continue
                batch = coming.result()
                cursor = batch[-1]["id"]
                yield (mine := _of(run, batch))
                if any(_ends(event, run) for event in mine):
                    return
                coming = asyncio.ensure_future(anext(log))
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


async def _rest(run: Run, cursor: str) -> list[Event]:
    """What the log has of a run that has ended; nothing while Redis is away."""
    try:
        return _of(run, await events.read(run.thread_id, cursor))
    except (RedisError, OSError):
        return []


def _of(run: Run, batch: list[Event]) -> list[Event]:
    """Up to the run's end."""
    mine = [event for event in batch if event["run_id"] == str(run.pk) or event["event"] == "reset"]
    end = next((at for at, event in enumerate(mine) if _ends(event, run)), len(mine))
    return mine[: end + 1]


def _ends(event: Event, run: Run) -> bool:
    is_about = event["event"] == "run" and event["run_id"] == str(run.pk)
    return is_about and event["data"]["status"] not in ACTIVE


# What follows reads the database.


def _standing(watch: Watch) -> Standing:
    run = Run.objects.select_related("thread", "user").get(pk=watch.run.pk)
    is_ended = run.status not in ACTIVE
    user = User.objects.get(pk=watch.caller.user.pk)
    may_chat = user.is_active and user.has_perm(PERMISSIONS[Scope.CHAT])
    key_id = watch.caller.key_id
    has_key = key_id is None or not ApiKey.objects.get(pk=key_id).has_ended
    is_signed_in = not watch.session_key or watch.session_key in people_of({watch.session_key})
    is_theirs = run.thread.owner_id == user.pk and (is_ended or run.thread.deleted_at is None)
    return Standing(is_ended, may_chat and has_key and is_signed_in and is_theirs)


def _end_of(run: Run) -> tuple[Run, ThreadState | None]:
    """The run as it is now, and the state it left; None where another run has gone on since."""
    found = Run.objects.get(pk=run.pk)
    state = ThreadState.objects.filter(thread=run.thread_id).first()
    return found, state
