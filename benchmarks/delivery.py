"""Ways of delivery side by side: the page's WebSocket, and server-sent events of `/api/v1` and of LangGraph's API."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks import compare

WAYS = ("platform", "sse", "langgraph")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=compare.counts, default="1,50", help="how many at once, such as 1,50")
    parser.add_argument("--seconds", type=float, default=10.0, help="for which each way is loaded, at least")


def run(*, users: Sequence[int], seconds: float) -> None:
    compare.run(users=users, seconds=seconds, designs=WAYS)
