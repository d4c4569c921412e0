"""The programs' socket: everything the chat has, both ways over one connection. docs/howto/websocket.md."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any
from uuid import UUID

from accounts.callers import Caller, Credential, secret_in
from accounts.exceptions import Refusal, Unauthenticated
from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404
from django.utils import translation
from django.utils.datastructures import CaseInsensitiveMapping
from django.utils.translation import gettext as _
from runtime.database import in_database, is_away
from runtime.endings import end
from runtime.exceptions import RuntimeRefusal

from apps.chat import watching
from apps.chat.api import acts, feed, frames
from apps.chat.api.acts import Listening
from apps.chat.api.frames import Auth, Decide, Frame, Leave, Listen, Ping, Send, Stop, Unreadable
from apps.chat.consumers import TOO_MANY, ChatConsumer, language, query_of
from apps.chat.doorkeeper import SIGNED_OUT
from apps.chat.watching import Watch

NOT_TEXT, TOO_LONG = 1003, 1009  # close codes of RFC 6455

AUTH_WITHIN = 10.0  # seconds for the first frame of who came without anything that says who they are
BEAT = 5.0  # seconds between two looks at whether they are still whom they were
FRAME_CHARS = 256 * 1024  # of one frame
KEPT_FRAMES, KEPT_CHARS = (
    100,
    1024 * 1024,
)  # that may wait for those before them, which wait for a slow reader
FRAMES_A_SECOND = 10.0
FRAMES_AT_ONCE = 40  # that may come faster than that
REFUSALS = (Refusal, RuntimeRefusal, Http404)


class Pace:
    """How many frames may still come now."""

    def __init__(self) -> None:
        self._left, self._at = float(FRAMES_AT_ONCE), time.monotonic()

    def is_kept(self) -> bool:
        """Counts one frame. False when it is one too many."""
        now = time.monotonic()
        self._left = min(float(FRAMES_AT_ONCE), self._left + (now - self._at) * FRAMES_A_SECOND) - 1
        self._at = now
        return self._left >= 0


class ProgramConsumer(ChatConsumer):
    """Carries out frames one after the other; tells of any number of sessions meanwhile.

    Whoever reads slowly holds up nobody else: what it misses it gets from the log.
    """

    _caller: Caller

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._credential: Credential | None = None
        self._admitted = asyncio.Event()
        self._is_over = False
        self._pace, self._coming = Pace(), asyncio.Queue[str](KEPT_FRAMES)
        self._kept_chars = 0
        self._sessions: dict[UUID, asyncio.Task[None]] = {}

    async def connect(self) -> None:
        """Accepts first: browsers can't read why a handshake was refused."""
        await self.accept()
        self._language = language(query_of(self.scope).get("lang", ""))
        with translation.override(self._language):
            try:
                credential = self._brought()
                code = await self._admit(credential) if credential else 0
            except Unauthenticated as refusal:
                code = await self._turn_away(refusal)
        if code:
            await self.close(code)
        else:
            self.begin(self._look_after(), self._work())

    def _brought(self) -> Credential | None:
        """What came with the handshake: a key or token in a header, else the session of a page of ours."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}
        query = self.scope["query_string"].decode("latin-1")
        if secret := secret_in(CaseInsensitiveMapping(headers), query):
            return Credential(secret)
        key = self.scope["session"].session_key
        return Credential(session_key=key) if key else None

    async def _admit(self, credential: Credential, ref: str | None = None) -> int:
        """Raises Unauthenticated; returns a code to close with for one socket too many, and for somebody else."""
        caller = await in_database(credential.caller)
        if self._credential is not None:
            if caller.user != self._caller.user:
                return SIGNED_OUT
        elif code := self.count(caller.user.pk):
            return code
        self._credential, self._caller, self._checked_at = credential, caller, time.monotonic()
        self._admitted.set()
        return 0

    async def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Whatever still comes is not carried out, and nothing more is told."""
        self._is_over = True
        for task in self._sessions.values():
            if task is not asyncio.current_task():
                task.cancel()
        await super().close(code, reason)

    # What comes

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Waits for nothing: what floods must not be kept."""
        if self._is_over:
            return
        if text_data is None:
            await self.close(NOT_TEXT)
        elif len(text_data) > FRAME_CHARS:
            await self.close(TOO_LONG)
        elif not self._pace.is_kept() or not self._has_room(text_data):
            await self.close(TOO_MANY)
        else:
            self._kept_chars += len(text_data)
            self._coming.put_nowait(text_data)

    def _has_room(self, text: str) -> bool:
        return not self._coming.full() and self._kept_chars + len(text) <= KEPT_CHARS

    async def _work(self) -> int:
        while not self._is_over:
            text = await self._coming.get()
            self._kept_chars -= len(text)
            with translation.override(self._language):
                if not self._is_over and (code := await self._carry_out(text)):
                    return code
        return 0

    async def _carry_out(self, text: str) -> int:
        """Says what came of the frame; returns a code to close with, or 0."""
        ref = None
        try:
            frame = frames.read(text)
            ref = frame.ref
            if not isinstance(frame, Auth):
                return await self._do(frame)
            if code := await self._admit(Credential(frame.token.strip())):
                return code
            await self.send(frames.accepted(frame))
        except Unauthenticated as refusal:
            return await self._turn_away(refusal, ref)
        except Unreadable as refusal:
            await self.send(frames.refusal(refusal, refusal.ref))
        except REFUSALS as refusal:
            await self.send(frames.refusal(refusal, ref))
        except Exception as error:
            if not is_away(error):
                raise
            detail = _("The database can't be reached right now. Nothing was changed: try again in a moment.")
            await self.send(frames.refused(503, detail, ref, retry_after=5))
        return 0

    async def _turn_away(self, refusal: Unauthenticated, ref: str | None = None) -> int:
        await self.send(frames.refusal(refusal, ref))
        return SIGNED_OUT

    async def _do(self, frame: Frame) -> int:
        if self._credential is None:
            raise Unauthenticated()
        if isinstance(frame, Ping):
            await self.send(frames.pong(frame))
            return 0
        if isinstance(frame, Leave):
            await self._leave(frame.session_id)
            await self.send(frames.accepted(frame, session_id=str(frame.session_id)))
            return 0
        self._caller = await in_database(self._credential.caller)
        heard = frozenset(self._sessions)
        match frame:
            case Send():
                said = await in_database(acts.send, self._caller, frame, heard)
                ids = {"session_id": str(said.listening.session_id), "run_id": str(said.run_id)}
                await self.send(frames.accepted(frame, **ids, is_again=said.is_again))
                if said.listening.session_id not in heard:
                    await self._listen(said.listening)
            case Listen():
                listening = await in_database(acts.resume, self._caller, frame, heard)
                await self._leave(listening.session_id)
                await self.send(frames.accepted(frame, session_id=str(listening.session_id)))
                await self._listen(listening)
            case Stop():
                await in_database(acts.stop, self._caller, frame)
                await self.send(frames.accepted(frame, run_id=str(frame.run_id)))
            case Decide():
                await self.send(frames.accepted(frame, **await in_database(acts.decide, self._caller, frame)))
        return 0

    # What is told

    async def _listen(self, listening: Listening) -> None:
        (task,) = self.begin(self._tell(listening))
        self._sessions[listening.session_id] = task
        await asyncio.sleep(0)  # it counts itself before the next frame is looked at

    async def _leave(self, session_id: UUID) -> None:
        task = self._sessions.pop(session_id, None)
        if task is not None:
            await end(task)

    async def _tell(self, listening: Listening) -> int:
        """Until the session may not be told of any more; the socket itself goes on."""
        watch = Watch(
            thread_id=listening.session_id,
            caller=self._caller,
            cursor=listening.cursor,
            credential=self._credential,
            stays=True,
        )
        with watching.counted(self._caller.user):
            try:
                async with aclosing(feed.told(watch, from_state=listening.from_state)) as told:
                    async for each in told:
                        if await self._late_refusal():
                            return SIGNED_OUT
                        if each is not None:
                            await self.send(frames.event(listening.session_id, each))
            except ObjectDoesNotExist:
                pass  # deleted for good meanwhile
            finally:
                if self._sessions.get(listening.session_id) is asyncio.current_task():
                    del self._sessions[listening.session_id]
        with translation.override(self._language):
            detail = _("There is no such thing, or it is not yours.")
            await self.send(frames.refused(404, detail, session_id=str(listening.session_id)))
        return 0

    # Who is there

    async def _look_after(self) -> int:
        try:
            async with asyncio.timeout(AUTH_WITHIN):
                await self._admitted.wait()
        except TimeoutError:
            return SIGNED_OUT
        while True:
            await asyncio.sleep(BEAT)
            if await self._refusal():
                return SIGNED_OUT

    async def _late_refusal(self) -> bool:
        """As found out now, when the beat's own look is late: nothing is sent on an old permission."""
        return time.monotonic() - self._checked_at >= 1.5 * BEAT and await self._refusal()

    async def _refusal(self) -> bool:
        if self._credential is None:
            return True
        self._checked_at = time.monotonic()
        try:
            await in_database(self._credential.caller)
        except Unauthenticated:
            return True
        return False
