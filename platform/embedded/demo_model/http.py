"""HTTP/1.1 over asyncio streams: keep-alive, JSON bodies in, JSON or a chunked event stream out."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from uuid import uuid4

from embedded.demo_model.exceptions import Abort, ApiError
from embedded.demo_model.schemas import JSONObject

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 32 * 1024 * 1024
LONG_PAUSE = 0.5  # seconds; during a longer one a client that goes away is noticed at once
MAX_LAG = 1.0  # seconds that a slow stream may catch up


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes

    @property
    def api_key(self) -> str:
        """The bearer token; empty when there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def json(self) -> JSONObject:
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise ApiError(400, "The body is not JSON.") from error
        if not isinstance(value, dict):
            raise ApiError(400, "The body is not a JSON object.")
        return value


class Connection:
    """One client. Answers requests one after the other, until it closes or an answer can't be completed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = asyncio.get_running_loop().time
        self._due = 0.0

    async def read_request(self) -> Request | None:
        """The next request; None when the client has closed.

        ApiError 4xx when it can't be read to its end: the connection is of no use afterwards.
        """
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError as error:
            raise ApiError(431, "The request's head is too large.") from error
        return await self._read_rest(head)

    async def _read_rest(self, head: bytes) -> Request:
        line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        parts = line.split(" ")
        if len(parts) != 3:
            raise ApiError(400, "The request line is not HTTP.")
        pairs = (field.partition(":") for field in fields)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await self._reader.readexactly(_body_length(headers))
        return Request(parts[0], parts[1].partition("?")[0], headers, body)

    async def send_json(
        self, value: JSONObject, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(value).encode()
        about_it = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._send_head(status, {**about_it, **(headers or {})})
        self._write(body)
        await self._writer.drain()

    def start_stream(self) -> None:
        self._send_head(
            200,
            {
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "Transfer-Encoding": "chunked",
            },
        )

    async def send_chunk(self, data: bytes) -> None:
        self._write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()

    async def end_stream(self) -> None:
        self._write(b"0\r\n\r\n")
        await self._writer.drain()

    def start_clock(self) -> None:
        """Pauses count from now."""
        self._due = self._clock()

    async def pause(self, seconds: float) -> None:
        """Silence, counted from the end of the pause before, so that many streams stay at their rate.

        Abort when the client goes away meanwhile.
        """
        now = self._clock()
        self._due = max(self._due + seconds, now - MAX_LAG)
        if seconds < LONG_PAUSE:
            await asyncio.sleep(max(self._due - now, 0))
            return
        timeout = None if math.isinf(seconds) else self._due - now
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._reader.read(1)
            raise Abort

    def abort(self) -> None:
        """Close at once, without the end of what was begun."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"x-request-id: req_{uuid4().hex}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def _write(self, data: bytes) -> None:
        if self._writer.is_closing():  # by the client; uvloop's transports would raise RuntimeError
            raise Abort
        self._writer.write(data)


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise ApiError(411, "Send the body with a Content-Length.")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise ApiError(400, "Content-Length is not a number.")
    if int(length) > MAX_BODY_BYTES:
        raise ApiError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return int(length)
