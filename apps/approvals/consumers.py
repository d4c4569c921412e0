"""The queue's socket: tells each approver how many requests wait for them, as soon as that may have changed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from accounts.sessions import user_of
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError
from runtime import events
from runtime.database import in_database
from runtime.endings import end

from apps.approvals.permissions import VIEW, decidable

HEARTBEAT = 15.0  # seconds between two messages when nothing happens
BREATH = 0.5  # seconds between two counts, however many notices come

SIGNED_OUT = 4401
FORBIDDEN = 4403
NOTHING_TO_SAY = 1003
TRY_AGAIN = 1013


class QueueConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """For staff who may see requests. Says {"waiting": n, "changed": bool}; nothing is decided over it."""

    async def connect(self) -> None:
        """Accepts first: a page can't read why a handshake was refused."""
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        await self.accept()
        if code := await in_database(self._close_code):
            await self.close(code)
            return
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._report())]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.close(NOTHING_TO_SAY)

    async def disconnect(self, code: int) -> None:
        await end(*self._tasks)

    async def _listen(self) -> None:
        async for _ in events.notices("approvals"):
            self._changed.set()

    async def _report(self) -> None:
        try:
            while await self._report_once():
                pass
        except DatabaseError:
            await self.close(TRY_AGAIN)

    async def _report_once(self) -> bool:
        """Asks anew each time who this is: a socket outlives a session, an account, a permission."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), HEARTBEAT)
        is_changed = self._changed.is_set()
        self._changed.clear()
        if code := await in_database(self._close_code):
            await self.close(code)
            return False
        waiting = await in_database(self._waiting)
        await self.send(json.dumps({"waiting": waiting, "changed": is_changed}))
        await asyncio.sleep(BREATH)
        return True

    def _close_code(self) -> int:
        """0 when this person may listen."""
        self._person = user_of(self.scope["session"].session_key)
        if self._person is None:
            return SIGNED_OUT
        may_listen = self._person.is_staff and self._person.has_perm(VIEW)
        return 0 if may_listen else FORBIDDEN

    def _waiting(self) -> int:
        return decidable(self._person).count() if self._person else 0
