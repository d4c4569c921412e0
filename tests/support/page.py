"""A thread's page without a browser: what it would look like from its frames."""

from __future__ import annotations

import json
import re
from typing import Any

from channels.testing import WebsocketCommunicator
from runtime.models import Thread

from apps.chat.rendering import render_item
from apps.chat.timeline import snapshot

ARTICLE = re.compile(r'<article [^>]*\bid="(?P<id>[^"]+)".*?</article>', re.DOTALL)


class Page:
    """The timeline as thread.js keeps it: element id -> html, in order."""

    def __init__(self, cursor: str = "") -> None:
        self.items: dict[str, str] = {}
        self.cursor = cursor
        self.composer = ""

    def take(self, frame: dict[str, Any]) -> None:
        self.cursor = frame.get("id", self.cursor)
        match frame:
            case {"item": id, "content": html} if not self.keeps(id, frame.get("only")):
                self.items[id] = html
            case {"append": id, "text": text} if "data-open" in self.items.get(id, ""):
                self.items[id] = self.items[id].replace("</div>", f"{text}</div>")
            case {"clear": run_id}:
                self.items = {
                    id: html
                    for id, html in self.items.items()
                    if f'data-open data-run="{run_id}"' not in html
                }
            case {"morph": "composer", "content": html}:
                self.composer = html
            case {"reset": _, "content": html}:
                self.items = {drawn["id"]: f"\n{drawn[0]}\n" for drawn in ARTICLE.finditer(html)}

    def keeps(self, id: str, only: str | None) -> bool:
        is_open = "data-open" in self.items.get(id, "")
        return id in self.items and (only == "missing" or (only == "open" and not is_open))

    async def follow(self, socket: WebsocketCommunicator, quiet: float = 0.4) -> Page:
        """Takes frames until none has come for `quiet` seconds."""
        while not await socket.receive_nothing(quiet, 0.02):
            self.take(json.loads(await socket.receive_from()))
        return self


def fresh(thread: Thread) -> dict[str, str]:
    return {item.id: render_item(thread, item) for item in snapshot(thread).items}
