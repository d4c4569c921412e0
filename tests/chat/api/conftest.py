"""Programs that call `/api/v1`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from accounts.models import User
from accounts.scopes import Scope
from runtime import hub

from apps.chat.late import LateResponse
from tests.support import programs
from tests.support.programs import key_of

ROOT = programs.Program.root


class Program(programs.Program):
    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The response; one that comes late as the server sends it."""
        response = super().call(method, path, body, **headers)
        return asyncio.run(_settled(response)) if isinstance(response, LateResponse) else response

    def listen(self, method: str, path: str, body: Any = None, **headers: str) -> list[Any]:
        """The events of a stream that ends."""
        return streamed(self.call(method, path, body, **headers))


async def _settled(late: LateResponse) -> Any:
    try:
        await asyncio.wait_for(late.settle(), 30)
    finally:
        await hub.close()
    found = late._found
    assert found is not None
    assert found.status_code == late.status_code
    found.json = lambda: json.loads(found.content)  # type: ignore[attr-defined]
    return found


def streamed(response: Any, stop: str = "") -> list[Any]:
    """The events of a stream until its end, or the first called `stop`: (event, data, id) each."""
    assert response.status_code == 200, response.content
    return asyncio.run(asyncio.wait_for(_heard(response, stop), 30))


async def _heard(response: Any, stop: str) -> list[Any]:
    found: list[Any] = []
    try:
        async with aclosing(response.streaming_content) as content:
            async for piece in content:
                found += events_in(piece.decode())
                if stop and found and found[-1][0] == stop:
                    break
    finally:
        await hub.close()
    return found


def events_in(text: str) -> list[Any]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]), lines["id"]))
    return found


def names(events: list[Any]) -> list[str]:
    return [event[0] for event in events]


@pytest.fixture
def program() -> Callable[..., Program]:
    def make(user: User, *scopes: Scope) -> Program:
        return Program(key_of(user, *scopes))

    return make


@pytest.fixture
def alices_program(alice: User, program: Callable[..., Program]) -> Program:
    return program(alice)
