"""A model endpoint whose every byte the test writes, on the test's own event loop."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

DONE = b"data: [DONE]\n\n"
HANG_UP_WITHIN = 10.0  # seconds
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Answer:
    """One response, open until `end`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._head = HEAD  # goes out with the first byte

    async def send(self, data: bytes) -> None:
        self._writer.write(self._head + b"%x\r\n%b\r\n" % (len(data), data))
        self._head = b""
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(self._head + b"0\r\n\r\n")
        await self._writer.drain()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def until_hung_up(self) -> None:
        with suppress(ConnectionError):
            await self._reader.read()


Script = Callable[[Answer], Awaitable[None]]


class Wire:
    """`async with Wire(script) as wire: wire.base_url`. Each request is answered by `script`."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self.connections = 0
        #: The first line of each request, oldest first.
        self.requests: list[str] = []
        #: The head and the body of each.
        self.received: list[tuple[str, bytes]] = []
        self._hung_up = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def until_hung_up(self) -> None:
        """Returns when the client has closed a connection."""
        async with asyncio.timeout(HANG_UP_WITHIN):
            await self._hung_up.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            # Cancelled, too: asyncio would log that of a connection's task as an error.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing() and not reader.at_eof():
                    await self._answer(reader, writer)
            self._hung_up.set()
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length.group(1)) if length else 0)
        self.received.append((head, body))
        self.requests.append(head.partition("\r\n")[0])
        await self._script(Answer(reader, writer))


def event(delta: dict[str, Any] | None = None, *, reason: str | None = None, **more: Any) -> bytes:
    """A chunk with one choice, as a server-sent event."""
    choice = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": reason}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: %b\n\n" % json.dumps({**head, "choices": [choice], **more}).encode()


def text(content: str) -> bytes:
    return event({"content": content})


FINISH = event(reason="stop")


def sending(*pieces: bytes) -> Script:
    """Answers with these bytes."""

    async def script(answer: Answer) -> None:
        for piece in pieces:
            await answer.send(piece)
        await answer.end()

    return script
