"""Following what goes on in a thread, for one client of the API: as long as it lasts, or they may.

All of it reads the thread's log. While Redis is away, or has lost the log, the rows say how it stands.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

from accounts.callers import Caller, Credential, caller_of, credential_of
from accounts.exceptions import Refusal, Unauthenticated
from accounts.models import User
from accounts.scopes import Scope
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from redis.exceptions import RedisError
from runtime import events
from runtime.database import in_database
from runtime.endings import end
from runtime.models import ACTIVE, UNSETTLED, Run, RunStatus, Thread
from runtime.redis_client import redis_client
from runtime.schemas import Event

BEAT = 5.0  # seconds between two signs of life; clients learn the rhythm and reconnect when it stops
STREAMS_EACH = 20  # that one person may have open in this process
IDLE = 60.0  # seconds for which a thread is followed in which nothing is under way and nothing waits

_open: Counter[int] = Counter()
"""Streams of each person in this process, by their pk."""


class TooManyStreams(Refusal):
    """One person has as many streams open as one may have."""

    message = _("You have too many streams open. Close one of them.")
    status = 429
    headers = {"Retry-After": "5"}


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who watches which thread, and from where in its log."""

    thread_id: UUID
    caller: Caller
    cursor: str
    credential: Credential | None = None
    """What they came with: nothing more is told once it is worth nothing. None: a process of this machine watches."""
    stays: bool = False
    """A whole thread is followed however long nothing goes on in it."""


@dataclass(frozen=True, kw_only=True)
class RunWatch(Watch):
    """Only this run of the thread is watched, until its end."""

    run: Run


@dataclass(frozen=True)
class Standing:
    """How it stands with what is watched, and with whoever watches."""

    is_ended: bool
    """The run has ended; of a thread: nothing is under way in it, and nothing waits."""
    may_watch: bool


def watch_run(request: HttpRequest, run: Run, cursor: str) -> RunWatch:
    """For the caller of the request."""
    who, came_with = caller_of(request), credential_of(request)
    return RunWatch(thread_id=run.thread_id, caller=who, cursor=cursor, credential=came_with, run=run)


def watch_thread(request: HttpRequest, thread_id: UUID, cursor: str) -> Watch:
    """For the caller of the request."""
    who, came_with = caller_of(request), credential_of(request)
    return Watch(thread_id=thread_id, caller=who, cursor=cursor, credential=came_with)


def refuse_one_more(user: User) -> None:
    if _open[user.pk] >= STREAMS_EACH:
        raise TooManyStreams


@contextmanager
def counted(person: User) -> Iterator[None]:
    """Counts the stream while it is open."""
    _open[person.pk] += 1
    try:
        yield
    finally:
        _open[person.pk] -= 1
        if not _open[person.pk]:
            del _open[person.pk]


def cursor_of(thread_id: UUID | None) -> str:
    """The end of the thread's log as it is now; its beginning while Redis is away, or there is none."""
    if thread_id is None:
        return events.START
    try:
        newest = cast(list[Any], redis_client().xrevrange(events.log_key(thread_id), count=1))
    except RedisError:
        return events.START
    return newest[0][0].decode() if newest else events.START


def has_beginning(thread: Thread) -> bool:
    """Whether the log still has all that was ever told in the thread."""
    try:
        oldest = _oldest_of(thread.pk)
    except RedisError:
        return False
    if oldest is None:
        return not thread.runs.exists()
    first_run = thread.runs.order_by("created_at").first()
    first_message = thread.messages.order_by("created_at", "pk").first()
    match oldest["event"]:
        case "run":
            is_first = first_run is not None and oldest["run_id"] == str(first_run.pk)
            return is_first and oldest["data"]["status"] == RunStatus.PENDING
        case "message":
            return first_message is not None and oldest["data"]["pk"] == first_message.pk
    return False


def oldest_id(thread_id: UUID) -> str | None:
    """Of the oldest event that the log still has; None while Redis is away."""
    try:
        oldest = _oldest_of(thread_id)
    except RedisError:
        return None
    return oldest and oldest["id"]


def _oldest_of(thread_id: UUID) -> Event | None:
    """The oldest event that the thread's log still has. Raises RedisError."""
    oldest = cast(list[Any], redis_client().xrange(events.log_key(thread_id), count=1))
    return events.parse(oldest[0][0].decode(), oldest[0][1][b"e"].decode()) if oldest else None


def cursor_from(last_event_id: str) -> str:
    """Where a client goes on; the beginning when it asks for all, or names no id of ours."""
    try:
        epoch, sequence = events.position(last_event_id)
    except ValueError:
        return events.START
    # Put together anew: Python reads digits that Redis does not.
    return f"{epoch}-{sequence}" if min(epoch, sequence) >= 0 else events.START


async def batches(watch: Watch) -> AsyncGenerator[list[Event] | None]:
    """What is watched, as it comes, until its end; None every BEAT seconds. Ends early for who may not watch.

    A whole thread is followed until it has been idle for IDLE seconds, unless the watch stays.
    """
    cursor, run = watch.cursor, _run_of(watch)
    if run is not None and (await in_database(standing, watch)).is_ended:
        yield await _rest(watch.thread_id, cursor, run)
        return
    loop = asyncio.get_running_loop()
    due, busy_at = loop.time() + BEAT, loop.time()
    async with aclosing(cast(AsyncGenerator[list[Event]], events.follow(watch.thread_id, cursor))) as log:
        coming = asyncio.ensure_future(anext(log))
        try:
            while True:
                await asyncio.wait({coming}, timeout=max(0.0, due - loop.time()))
                if loop.time() >= due:
                    due += BEAT
                    yield None
                    stands = await in_database(standing, watch)
                    if not stands.may_watch:
                        return
                    busy_at = busy_at if stands.is_ended else loop.time()
                    if stands.is_ended and not coming.done():
                        if run is not None:
                            yield await _rest(watch.thread_id, cursor, run)
                            return
                        if not watch.stays and loop.time() - busy_at >= IDLE:
                            return
                if not coming.done():
                    continue
                batch = coming.result()
                cursor, busy_at = batch[-1]["id"], loop.time()
                yield (mine := of_run(run, batch))
                if run is not None and any(ends(event, run) for event in mine):
                    return
                coming = asyncio.ensure_future(anext(log))
        finally:
            await end(coming)


def _run_of(watch: Watch) -> Run | None:
    return watch.run if isinstance(watch, RunWatch) else None


async def _rest(thread_id: UUID, cursor: str, run: Run) -> list[Event]:
    """What the log has of a run that has ended; nothing while Redis is away."""
    try:
        return of_run(run, await events.read(thread_id, cursor))
    except (RedisError, OSError):
        return []


def of_run(run: Run | None, batch: list[Event]) -> list[Event]:
    """Up to the run's end; of a whole thread, all of it."""
    if run is None:
        return batch
    mine = [event for event in batch if event["run_id"] == str(run.pk) or event["event"] == "reset"]
    end = next((at for at, event in enumerate(mine) if ends(event, run)), len(mine))
    return mine[: end + 1]


def ends(event: Event, run: Run) -> bool:
    """True for the event that tells the run's end."""
    return event["run_id"] == str(run.pk) and is_end(event)


def is_end(event: Event) -> bool:
    return event["event"] == "run" and event["data"]["status"] not in ACTIVE


def standing(watch: Watch) -> Standing:
    """For a thread of the database."""
    thread = Thread.objects.get(pk=watch.thread_id)
    run = _run_of(watch)
    if run is not None:
        is_ended = not Run.objects.filter(pk=run.pk, status__in=ACTIVE).exists()
    else:
        is_busy = thread.runs.filter(status__in=ACTIVE).exists()
        is_ended = not is_busy and not thread.tool_calls.filter(state__in=UNSETTLED).exists()
    is_over = run is not None and is_ended  # a thread that goes with its run is told of to the end
    is_theirs = thread.owner_id == watch.caller.user.pk and (is_over or thread.deleted_at is None)
    return Standing(is_ended, is_theirs and _may_chat(watch))


def _may_chat(watch: Watch) -> bool:
    """As it is now: keys and tokens end, people sign out, are switched off and lose permissions."""
    user = watch.caller.user
    try:
        now = watch.credential.caller() if watch.credential else replace(watch.caller, user=_fresh(user))
    except Unauthenticated:
        return False
    return now.user == user and now.user.is_active and now.may(Scope.CHAT)


def _fresh(user: User) -> User:
    """Without the permissions that were looked up before."""
    return User.objects.get(pk=user.pk)
