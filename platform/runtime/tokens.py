"""The tokens of a run on their way into its thread's log."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessageChunk

from runtime import events, pace
from runtime.masking import StreamMask
from runtime.models import message_key

OF_A_REST = 0.9  # what a flush waits, of the rest a stream takes: no token waits for both


class TokenStream:
    """Gathers a message's tokens and appends them to the log, the first at once, the rest at the process's pace."""

    def __init__(self, writer: events.Writer, run_id: UUID) -> None:
        self._writer = writer
        self._run_id = run_id
        self._message_id = ""
        self._text = ""  # all of the open message, without its secrets
        self._mask = StreamMask()
        self._sent = 0  # characters of it that are in the log
        self._timer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self.ids: set[str] = set()
        """Of all messages that streamed."""

    async def add(self, chunk: Any) -> None:
        if not isinstance(chunk, AIMessageChunk) or not chunk.text:
            return
        if chunk.id != self._message_id:
            await self.end_message()
            self._message_id = chunk.id or ""
            self.ids.add(self._message_id)
        self._text += self._mask.feed(str(chunk.text))
        if self._timer is None:
            await self._append()
            self._timer = asyncio.create_task(self._flush_later())

    async def end_message(self) -> tuple[str, str] | None:
        """Sends what is left; returns (message id, text) of the message that was open, None when there was none."""
        self._text += self._mask.end()
        self._mask = StreamMask()
        await self.flush()
        ended = (self._message_id, self._text) if self._message_id else None
        self._message_id, self._text, self._sent = "", "", 0
        return ended

    async def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._append()

    async def _flush_later(self) -> None:
        await asyncio.sleep(OF_A_REST * pace.rest())
        self._timer = None
        await self._append()

    async def _append(self) -> None:
        async with (
            self._writing
        ):  # what came first is written first, and a flush ends after what it found under way
            fresh = self._text[self._sent :]
            if not fresh:
                return
            key = message_key(self._message_id)
            entries = [events.entry("token", self._run_id, {"key": key, "text": fresh})]
            if self._sent == 0:
                entries.insert(0, events.entry("message_started", self._run_id, {"key": key}))
            self._sent = len(self._text)
            so_far = events.entry("snapshot", self._run_id, {"key": key, "text": self._text})
            await self._writer.append(entries, snapshot=[so_far])
