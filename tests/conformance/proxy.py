"""What stands between a client and the product: notes each request, and cuts a connection where it is asked to.

A client that sends `x-cut-after: 4000` has the answer of its POST cut off after that many bytes, as a network does it;
with `x-cut-after: 4000 once <word>` that happens to one answer only, of all that are asked for with the word.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

REQUEST = re.compile(rb"^(GET|POST|PUT|PATCH|DELETE) (/\S*) HTTP/1\.1\r\n")
STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ")
CUT = re.compile(rb"^x-cut-after: *(\d+)(?: once (\S+))?\r$", re.IGNORECASE | re.MULTILINE)
PIECE = 65536


@dataclass
class Proxy:
    """The requests of one client, and the addresses it may be told."""

    url: str = ""
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path, status) of each that was answered."""
    cuts: int = 0
    words: set[bytes] = field(default_factory=set)
    """Of those that were cut once."""


@dataclass
class _Talk:
    """One connection of the client: what it asked last, and how much of the answer it may still get."""

    asked: tuple[str, str] = ("", "")
    left: int | None = None
    word: bytes = b""


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """`target`: the product's address. The proxy runs on a loop of its own until the block is left."""
    found, loop = Proxy(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    where = urlsplit(target)

    async def start() -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.CancelledError):  # cancelled at the end, when nobody waits for it
                await _between(found, reader, writer, str(where.hostname), int(where.port or 80))

        return await asyncio.start_server(accept, "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Clients leave their connections open."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # what was aborted is closed one turn later


async def _between(
    proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
) -> None:
    theirs, ours = await asyncio.open_connection(host, port)
    talk = _Talk()
    ways = [
        asyncio.ensure_future(_forth(proxy, talk, reader, ours)),
        asyncio.ensure_future(_back(proxy, talk, theirs, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        for end in (ours, writer):
            end.transport.abort()


async def _forth(proxy: Proxy, talk: _Talk, reader: asyncio.StreamReader, ours: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        if asked := REQUEST.match(piece):
            talk.asked = asked[1].decode(), asked[2].decode()
            cut = CUT.search(piece)
            talk.left = int(cut[1]) if cut and asked[1] == b"POST" else None
            talk.word = (cut and cut[2]) or b""
        ours.write(piece)
        await ours.drain()


async def _back(
    proxy: Proxy, talk: _Talk, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while piece := await theirs.read(PIECE):
        if status := STATUS.match(piece):
            proxy.seen.append((*talk.asked, int(status[1])))
        if talk.word in proxy.words:
            talk.left = None
        if talk.left is not None and len(piece) >= talk.left:
            writer.write(piece[: talk.left])
            await writer.drain()
            proxy.cuts += 1
            proxy.words |= {talk.word} if talk.word else set()
            return
        talk.left = None if talk.left is None else talk.left - len(piece)
        writer.write(piece)
        await writer.drain()
