"""Users of this design: they post a message, then follow the run's server-sent events to their end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import uvloop

from benchmarks.load import TEXT, Turn, User
from benchmarks.wire import Http

LOOP = uvloop.new_event_loop


class StreamUser:
    """One client with a thread of its own."""

    def __init__(self, base: str) -> None:
        self._http = Http(base)
        self._thread = uuid4()

    async def open(self) -> None:
        """Connects when there is something to say."""
        self._http.close()

    async def take(self, turn: Turn) -> None:
        body = json.dumps({"text": TEXT}).encode()
        headers = {"Content-Type": "application/json"}
        _, answer = await self._http.post(f"/threads/{self._thread}/runs", headers, body)
        response = await self._http.begin("GET", f"/runs/{json.loads(answer)['run_id']}/events", {})
        rest = b""
        async for piece in self._http.pieces(response):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data: "):
                    turn.read(json.loads(line[6:]).get("text", ""))


@asynccontextmanager
async def opened(count: int, where: Mapping[str, Any]) -> AsyncIterator[Sequence[User]]:
    """`where`: the base URL of the web half."""
    yield [StreamUser(where["base"]) for _ in range(count)]
