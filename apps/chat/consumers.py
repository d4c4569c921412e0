"""The sockets of the chat; that of a thread's page: one way, from the log to the page. What people do arrives by forms.

That of programs is in `apps.chat.api.sockets`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import translation
from runtime import events
from runtime.database import in_database
from runtime.endings import end
from runtime.models import Thread
from runtime.schemas import Event

from apps.chat.doorkeeper import NOT_FOUND, Reader, refusal_of, refusals
from apps.chat.rendering import Frame, Page, begins_anew, reset_frames

logger = logging.getLogger(__name__)

_open: Counter[int] = Counter()
"""Sockets of each person in this process, by their pk; touched in the event loop only."""

BEAT = 5.0  # seconds between two looks at whether the person may still read this; each is sent as a beat
SOCKETS_EACH = 20  # that one person may have open here; more than anybody reads, less than what hurts others
TOO_MANY = 4429  # a close code after which the page does not come back, like the doorkeeper's
FAILED, RESTART = 1011, 1012  # and those after which it does


class ChatConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """What every socket of the chat is: counted for its person, and over when one of its tasks says so, or all else."""

    _tasks: set[asyncio.Task[None]]
    _counted_for: int | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._tasks = set()
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:  # the server stops
            with suppress(Exception):
                await self.close(RESTART)
            raise
        finally:
            self._uncount()
            await end(*self._tasks)

    def begin(self, *work: Coroutine[Any, Any, int]) -> list[asyncio.Task[None]]:
        """Each goes on until the socket ends, or ends it with the code it returns; 0 ends nothing."""
        begun = [asyncio.create_task(self._guard(each)) for each in work]
        for task in begun:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return begun

    async def _guard(self, work: Coroutine[Any, Any, int]) -> None:
        try:
            code = await work
        except Exception:
            logger.exception("socket failed", extra={"action": "socket_failed", "path": self.scope["path"]})
            code = FAILED
        if code:
            with suppress(Exception):  # whoever reads may have gone
                await self.close(code)

    def count(self, person: int) -> int:
        """TOO_MANY when this would be one more than this person may have open, else 0."""
        if _open[person] >= SOCKETS_EACH:
            return TOO_MANY
        _open[person] += 1
        self._counted_for = person
        return 0

    def _uncount(self) -> None:
        if self._counted_for is None:
            return
        _open[self._counted_for] -= 1
        if not _open[self._counted_for]:
            del _open[self._counted_for]


class ThreadConsumer(ChatConsumer):
    """Follows the log of one thread for its owner, from the cursor at which the page was rendered."""

    async def connect(self) -> None:
        """Accepts first: a page can't read why a handshake was refused."""
        await self.accept()
        self._thread_id: UUID = self.scope["url_route"]["kwargs"]["thread_id"]
        self._reader = Reader(self.scope["session"].session_key or "", self._thread_id)
        query = query_of(self.scope)
        self._language = language(query.get("lang", ""))
        refusal = await in_database(self._admission) or self.count(self.scope["user"].pk)
        if refusal:
            await self.close(refusal)
            return
        self._checked_at = time.monotonic()
        self.begin(self._follow(_cursor(query.get("after", ""))), self._beat())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Nothing is expected from the page."""

    async def _follow(self, cursor: str) -> int:
        """Sends what happens until it may no longer be sent; returns the code to close with."""
        while True:
            async with aclosing(events.follow(self._thread_id, cursor)) as log:  # type: ignore[type-var]
                async for batch in log:
                    if any(begins_anew(event) for event in batch):
                        break
                    if refusal := await self._late_refusal():
                        return refusal
                    await self._send_events([event for event in batch if event["event"] != "wire"])
            cursor = await self._send_reset()

    async def _late_refusal(self) -> int:
        """A refusal found out since, when the beat's own look is late: nothing is sent on an old permission."""
        if time.monotonic() - self._checked_at < 1.5 * BEAT:
            return 0
        self._checked_at = time.monotonic()
        return await refusal_of(self._reader)

    async def _beat(self) -> int:
        refusal = 0
        while not refusal:
            self._checked_at = time.monotonic()
            await self._send_frames([{"beat": BEAT}])
            await asyncio.sleep(BEAT)
            refusal = await refusal_of(self._reader)
        return refusal

    async def _send_events(self, batch: list[Event]) -> None:
        needs_rows = self._page.needs_rows(batch)
        await self._send_frames(
            await in_database(self._frames_of, batch) if needs_rows else self._frames_of(batch)
        )

    async def _send_reset(self) -> str:
        """Renders the page anew, as it stands now. Returns the cursor to go on from."""
        frames = await in_database(self._reset_frames)
        await self._send_frames(frames)
        return str(frames[-1]["id"])

    async def _send_frames(self, frames: list[Frame]) -> None:
        for frame in frames:
            await self.send(json.dumps(frame, ensure_ascii=False))

    def _frames_of(self, batch: list[Event]) -> list[Frame]:
        with translation.override(self._language):
            return self._page.frames_of(batch)

    # What follows reads the database.

    def _admission(self) -> int:
        refusal = refusals([self._reader])[self._reader]
        if not refusal:
            try:
                self._page = Page(self._thread_id)
            except Thread.DoesNotExist:  # deleted since
                return NOT_FOUND
        return refusal

    def _reset_frames(self) -> list[Frame]:
        with translation.override(self._language):
            return reset_frames(self._page.thread)


def query_of(scope: Any) -> dict[str, str]:
    """The first of each name in the address."""
    return {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}


def language(asked: str) -> str:
    """The one that was asked for, as sockets don't negotiate."""
    try:
        return translation.get_supported_language_variant(asked)
    except LookupError:
        return translation.get_language() or "en"


def _cursor(asked: str) -> str:
    """The cursor to go on from; all of the log when it is none of ours."""
    try:
        events.position(asked)
    except ValueError:
        return events.START
    return asked
