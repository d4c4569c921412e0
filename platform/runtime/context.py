"""Who a graph is running for. Set by the runner, inherited by every task the graph starts."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.models import Run, ToolCall

if TYPE_CHECKING:
    from runtime.ledger import Proposal


@dataclass
class RunContext:
    run: Run
    why: str = field(default="")
    """What the model said last: shown beside the tool calls it proposed with it."""
    locks: dict[Hashable, asyncio.Lock] = field(default_factory=dict)

    def lock_of(self, proposal: Proposal) -> asyncio.Lock:
        """One execution at a time of one tool call in this run."""
        return self.locks.setdefault(proposal.key, asyncio.Lock())

    async def settle(self, limit: float) -> None:
        """Waits until no tool call is being executed any more, at most `limit` seconds for each."""
        for lock in list(self.locks.values()):
            with suppress(TimeoutError):
                async with asyncio.timeout(limit), lock:
                    pass


current_run: ContextVar[RunContext] = ContextVar("current_run")
current_call: ContextVar[ToolCall] = ContextVar("current_call")
"""The ledger row of the tool call being executed: its id is the idempotency key, its user the requester."""
