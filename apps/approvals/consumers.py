"""The queue's socket: tells each approver how many requests wait for them, as soon as that may have changed."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from importlib import import_module

from accounts.models import User
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user as signed_in_as
from django.contrib.sessions.backends.base import SessionBase
from django.db import Error as DatabaseError
from django.http import HttpRequest
from runtime import events

from apps.approvals.permissions import VIEW, decidable

HEARTBEAT = 15.0  # seconds between two messages when nothing happens
BREATH = 0.5  # seconds between two counts, however many notices come

SIGNED_OUT = 4401
FORBIDDEN = 4403
NOTHING_TO_SAY = 1003
TRY_AGAIN = 1013


def _session_store() -> type[SessionBase]:
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


class QueueConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """For staff who may see requests. Says {"waiting": n, "changed": bool}; nothing is decided over it."""

    async def connect(self) -> None:
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        code = await database_sync_to_async(self._objection)()
        if code:
            await self.close(code)
            return
        await self.accept()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._report())]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.close(NOTHING_TO_SAY)

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        code = await database_sync_to_async(self._objection)()
        if code:
            await self.close(code)
            return False
        waiting = await database_sync_to_async(self._waiting)()
        await self.send(json.dumps({"waiting": waiting, "changed": is_changed}))
        await asyncio.sleep(BREATH)
        return True

    def _user(self) -> User | None:
        """Who the session belongs to at this moment."""
        request = HttpRequest()
        request.session = _session_store()(self.scope["session"].session_key)
        user = signed_in_as(request)
        return user if isinstance(user, User) else None

    def _objection(self) -> int:
        """The code to close with; 0 when this person may listen."""
        self._person = self._user()
        if self._person is None:
            return SIGNED_OUT
        if not self._person.is_active or not self._person.is_staff or not self._person.has_perm(VIEW):
            return FORBIDDEN
        return 0

    def _waiting(self) -> int:
        return decidable(self._person).count() if self._person else 0
