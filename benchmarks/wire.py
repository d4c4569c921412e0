"""HTTP as cheap as a load generator needs it: one kept-alive connection a user, nothing but what our servers send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


class Refused(Exception):
    """The server answered with a status that is no success."""


@dataclass(frozen=True)
class Response:
    status: int
    headers: list[tuple[str, str]]
    """In the order they came, names in lower case."""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Http:
    """One connection to one server; a request at a time, begun again when the server closed it."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str, headers: Mapping[str, str]) -> tuple[Response, str]:
        response = await self.begin("GET", path, headers)
        return response, await self._whole(response)

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[Response, str]:
        response = await self.begin("POST", path, headers, body)
        return response, await self._whole(response)

    async def begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """Sends a request and reads the head of its answer; `pieces` gives the rest. Refused from status 400 on."""
        if self._writer is None or self._writer.is_closing() or self._at_end():
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        fields = {"Host": f"{self._host}:{self._port}", "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        response = _parsed(await self._input.readuntil(b"\r\n\r\n"))
        if response.status >= 400:
            self.close()
            raise Refused(f"{response.status} to a {method}")
        return response

    async def pieces(self, response: Response) -> AsyncIterator[bytes]:
        """The body as it comes."""
        if response.header("transfer-encoding") != "chunked":
            yield await self._input.readexactly(int(response.header("content-length") or 0))
            return
        while size := int(await self._input.readuntil(b"\r\n"), 16):
            yield (await self._input.readexactly(size + 2))[:-2]
        await self._input.readexactly(2)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def _whole(self, response: Response) -> str:
        return b"".join([piece async for piece in self.pieces(response)]).decode()

    @property
    def _input(self) -> asyncio.StreamReader:
        if self._reader is None:
            raise ConnectionError("not connected")
        return self._reader

    def _at_end(self) -> bool:
        return self._reader is not None and self._reader.at_eof()


def _parsed(head: bytes) -> Response:
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Response(int(status.split()[1]), [(name.lower(), value.strip()) for name, _, value in pairs])
