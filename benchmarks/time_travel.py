"""A look at an older checkpoint of a thread, and a turn that begins from it, through LangGraph's API."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load import TEXT

BACK = 12  # checkpoints: three or four turns


@dataclass(frozen=True)
class Api:
    base: str
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What is answered, read to its end. Raises HTTPError."""
        request = urllib.request.Request(
            f"{self.base}/api/langgraph{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Content-Type": "application/json", "x-api-key": self.key},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@dataclass(frozen=True)
class Travels:
    """Milliseconds each, as a client sees them."""

    looks: list[float] = field(default_factory=list)
    forks: list[float] = field(default_factory=list)


def travel(api: Api, thread: str, graph_id: str, times: int) -> Travels:
    """So many looks at the state some turns ago, and as many turns from there. The first of each warms up."""
    taken = Travels()
    for _ in range(times + 1):
        then = finished_checkpoint(api, thread)
        began = time.perf_counter()
        api.ask("GET", f"/threads/{thread}/state/{then}")
        looked = time.perf_counter()
        said = {"messages": [{"role": "user", "content": TEXT}]}
        api.ask(
            "POST",
            f"/threads/{thread}/runs/wait",
            {"assistant_id": graph_id, "input": said, "checkpoint_id": then},
        )
        taken.looks.append(1000 * (looked - began))
        taken.forks.append(1000 * (time.perf_counter() - looked))
    return Travels(taken.looks[1:], taken.forks[1:])


def finished_checkpoint(api: Api, thread: str) -> str:
    """The id of one at which nothing was left to do."""
    states = api.ask("POST", f"/threads/{thread}/history", {"limit": BACK})
    return str(next(each for each in reversed(states) if not each["next"])["checkpoint"]["checkpoint_id"])
