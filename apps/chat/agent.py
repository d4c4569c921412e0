"""The door from Python: any assistant, from a Django project in which this is an app. docs/howto/python.md.

A worker performs the turns, as for every other door, so nothing is lost when the caller goes away, and what the policy
holds back waits for a person. For synchronous code: from a coroutine, call it in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from uuid import UUID

from accounts.callers import Caller
from accounts.models import User
from accounts.scopes import EVERY_SCOPE
from runtime import hub
from runtime.models import Run

from apps.chat import watching
from apps.chat.access import get_thread_for
from apps.chat.api import feed, shapes
from apps.chat.api.doors import say
from apps.chat.api.feed import Told
from apps.chat.api.schemas import History, Reply
from apps.chat.api.sessions import begin_anew, history_of
from apps.chat.watching import RunWatch


class Agent:
    """An assistant, as one person has it.

    Each method raises Http404 for a session that is not theirs, and RuntimeRefusal for what can't be done now.
    """

    def __init__(self, user: User, assistant: str | None = None) -> None:
        """`assistant`: its id, or its graph's; of a session its own, of a new one the first by name."""
        self._user = user
        self._assistant = assistant

    def chat(self, text: str, session_id: UUID | None = None, *, timeout: float = 60.0) -> Reply:
        """What came of it within `timeout` seconds; `status` says whether the run still goes on, or waits."""
        run = begin(self._user, text, self._assistant, session_id)
        asyncio.run(_wait(run, timeout))
        return shapes.outcome(run.run.pk)

    def stream_chat(self, text: str, session_id: UUID | None = None) -> Iterator[Told]:
        """The events of docs/reference/events.md, up to `end`. It is said at once, heard as you iterate."""
        return heard(begin(self._user, text, self._assistant, session_id))

    def get_history(self, session_id: UUID, *, limit: int = 50, before: str = "") -> History:
        """The newest messages, oldest first; `before` is that of another History."""
        return history_of(get_thread_for(self._user, session_id), limit, before)

    def reset_session(self, session_id: UUID) -> UUID:
        """Deletes the session as its page does, and returns the id of a new, empty one."""
        return begin_anew(get_thread_for(self._user, session_id)).pk


def begin(user: User, text: str, assistant: str | None, session_id: UUID | None) -> RunWatch:
    """Says it: the run that answers, watched from before its first event."""
    cursor = watching.cursor_of(get_thread_for(user, session_id).pk if session_id else None)
    return watch(user, say(user, text, assistant=assistant, session_id=session_id), cursor)


def watch(user: User, run: Run, cursor: str) -> RunWatch:
    caller = Caller(user, EVERY_SCOPE, "process")
    return RunWatch(thread_id=run.thread_id, caller=caller, cursor=cursor, run=run)


def heard(run: RunWatch) -> Iterator[Told]:
    """The run's events up to its end, on a loop of their own."""
    with asyncio.Runner() as runner:
        events = _heard(run)
        try:
            while (told := runner.run(anext(events, None))) is not None:
                yield told
        finally:
            runner.run(_leave(events))


async def _heard(run: RunWatch) -> AsyncGenerator[Told]:
    async with aclosing(feed.told(run, from_state=False)) as told:
        async for each in told:
            if each is not None:
                yield each


async def _leave(events: AsyncGenerator[Told]) -> None:
    await events.aclose()
    await hub.close()  # it belongs to this loop


async def _wait(run: RunWatch, timeout: float) -> None:
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), aclosing(watching.batches(run)) as log:
                async for _batch in log:
                    pass
    finally:
        await hub.close()
