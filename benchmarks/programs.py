"""Users of the API: each asks by its own key and hears the answer as server-sent events of the same request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from benchmarks import graph
from benchmarks.accounts import Account
from benchmarks.load import TEXT, Turn, User
from benchmarks.product import TurnFailed
from benchmarks.wire import Http

LOOP = uvloop.new_event_loop
FAILED = ("error", "timeout", "cancelled")

Json = Any


class Program:
    """One client with a thread of its own."""

    def __init__(self, base: str, account: Account, ask: Callable[[str], tuple[str, Json]]) -> None:
        self._http = Http(base)
        self._headers = {"Content-Type": "application/json", "x-api-key": account["key"]}
        path, body = ask(account["thread"])
        self._path, self._body = path, json.dumps(body).encode()

    async def open(self) -> None:
        """Connects when there is something to say."""
        self._http.close()

    async def take(self, turn: Turn) -> None:
        response = await self._http.begin("POST", self._path, self._headers, self._body)
        rest, event = b"", ""
        async for piece in self._http.pieces(response):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"event: "):
                    event = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    self._hear(turn, event, json.loads(line[6:]))

    def _hear(self, turn: Turn, event: str, data: Json) -> None:
        if event == "error" or (event == "end" and data and data.get("status") in FAILED):
            raise TurnFailed(str(data))
        if event == "token":
            turn.read(data["text"])
        elif event == "messages" and data[0]["type"] == "AIMessageChunk":
            turn.read(data[0]["content"])


def of_ours(thread: str) -> tuple[str, Json]:
    return "/api/v1/chat/stream", {"message": TEXT, "session_id": thread}


def of_langgraph(thread: str) -> tuple[str, Json]:
    said = {"messages": [{"role": "user", "content": TEXT}]}
    body = {"assistant_id": graph.ID, "input": said, "stream_mode": ["messages-tuple"]}
    return f"/api/langgraph/threads/{thread}/runs/stream", body


ASK = {"v1": of_ours, "langgraph": of_langgraph}


@asynccontextmanager
async def opened(count: int, where: Mapping[str, Any]) -> AsyncIterator[Sequence[User]]:
    """`where`: the product's base URL, an account for each user, and the API that they use, a name of ASK."""
    ask = ASK[where["api"]]
    yield [Program(where["base"], account, ask) for account in where["accounts"][:count]]
