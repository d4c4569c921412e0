"""Users of the product: a page, its form, its socket, as a browser uses them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import uvloop
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.accounts import Account
from benchmarks.load import TEXT, Turn, User
from benchmarks.stack import hidden_field
from benchmarks.wire import Http

LOOP = uvloop.new_event_loop
OPENED_AT_ONCE = 8
COOKIE = re.compile(r"csrftoken=([^;]+)")
CURSOR = re.compile(r'data-cursor="([^"]*)"')


class TurnFailed(Exception):
    """The page says that the answer failed, or had to be drawn anew."""


class PageUser:
    """One open page of a thread."""

    def __init__(self, base: str, account: Account) -> None:
        self._base = base
        self._path = f"/threads/{account['thread']}/"
        self._cookies = f"sessionid={account['session']}"
        self._http = Http(base)
        self._token = ""
        self._finished = ""  # id of the newest finished message's element
        self._socket: ClientConnection | None = None

    async def open(self) -> None:
        """Loads the page and connects its socket where the page ends."""
        await self.close()
        response, html = await self._http.get(self._path, {"Cookie": self._cookies})
        cookie = COOKIE.search(response.header("set-cookie"))
        if cookie and "csrftoken" not in self._cookies:
            self._cookies += f"; csrftoken={cookie.group(1)}"
        self._token = hidden_field(html, "csrfmiddlewaretoken")
        cursor = CURSOR.search(html)
        self._socket = await connect(
            f"{self._base.replace('http', 'ws')}/ws{self._path}?lang=en&after={cursor.group(1) if cursor else ''}",
            additional_headers={"Cookie": self._cookies, "Origin": self._base},
            compression=None,
            ping_interval=None,
            proxy=None,
        )

    async def take(self, turn: Turn) -> None:
        tasks = [asyncio.create_task(work) for work in (self._post(), self._read(turn))]
        try:
            await asyncio.gather(*tasks)  # whichever fails first ends the turn
        finally:
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        self._http.close()
        if self._socket is not None:
            await self._socket.close()

    async def _post(self) -> None:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self._cookies,
            "Origin": self._base,
            "HX-Request": "true",
            "HX-Current-URL": f"{self._base}{self._path}",
        }
        body = urlencode({"csrfmiddlewaretoken": self._token, "text": TEXT}).encode()
        await self._http.post(f"{self._path}messages/", headers, body)

    async def _read(self, turn: Turn) -> None:
        """Reads frames until the finished message is drawn and the composer is at rest."""
        if self._socket is None:
            raise ConnectionError("the page is not open")
        is_drawn = is_idle = False
        while not (is_drawn and is_idle):
            frame = json.loads(await self._socket.recv())
            if "append" in frame:
                if frame["append"] != self._finished:  # else the page leaves it out: the text is there
                    turn.read(frame["text"])
                continue
            content = frame.get("content", "")
            if "reset" in frame or 'data-status="failed"' in content:
                raise TurnFailed("reset" if "reset" in frame else "the answer failed")
            is_idle |= frame.get("morph") == "composer" and 'data-status="idle"' in content
            if "message--ai" in content and "data-open" not in content:
                is_drawn, self._finished = True, frame["item"]

    async def stand_by(self) -> None:
        """Only has the page open. Raises ConnectionClosed when the server closes it."""
        if self._socket is None:
            raise ConnectionError("the page is not open")
        while True:
            await self._socket.recv()


@asynccontextmanager
async def opened(count: int, where: Mapping[str, Any]) -> AsyncIterator[Sequence[User]]:
    """`where`: the product's base URL and an account for each user; those of more people have a page open."""
    pages = [PageUser(where["base"], account) for account in where["accounts"]]
    users, others = pages[:count], pages[count:]
    for at in range(0, len(others), OPENED_AT_ONCE):
        await asyncio.gather(*(page.open() for page in others[at : at + OPENED_AT_ONCE]))
    standing_by = [asyncio.create_task(page.stand_by()) for page in others]
    yield users
    closed = sum(task.done() for task in standing_by)
    for task in standing_by:
        task.cancel()
    await asyncio.gather(*(page.close() for page in pages), *standing_by, return_exceptions=True)
    if closed:
        raise ConnectionError(f"{closed} of {len(others)} pages that stood by were closed")
