"""What each step of an analysis takes, in time and memory."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

Node = Callable[[Any], Awaitable[dict[str, Any]]]

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Stopwatch:
    """`with Stopwatch() as watch:` then `watch.step`, as `shapes.Step` has it."""

    step: dict[str, Any]

    def __enter__(self) -> Self:
        self._began, self._memory = time.perf_counter(), memory_kb()
        return self

    def __exit__(self, *error: object) -> None:
        took = round(time.perf_counter() - self._began, 4)
        self.step = {"seconds": took, "memory_kb": max(0, memory_kb() - self._memory)}


def watched(name: str, node: Node) -> Node:
    """The node, with what it took in `steps`."""

    async def with_step(state: Any) -> dict[str, Any]:
        with Stopwatch() as watch:
            update = await node(state)
        return {**update, "steps": {name: watch.step}}

    return with_step


def memory_kb() -> int:
    """Resident memory of this process; where the system does not tell, the most it ever was."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * PAGE_KB
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
