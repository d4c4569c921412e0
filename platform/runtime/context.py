"""Who a graph is running for. Set by the runner, inherited by every task the graph starts."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils.translation import gettext as _

from runtime.exceptions import LimitReached
from runtime.meter import Meter
from runtime.models import Run, ToolCall

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointTuple

    from runtime.ledger import Proposal


@dataclass
class RunContext:
    run: Run
    why: str = field(default="")
    """What the model said last: shown beside the tool calls it proposed with it."""
    is_lost: bool = field(default=False)
    """The run is no longer this attempt's, or may not be: nothing more is written for it."""
    is_ending: bool = field(default=False)
    """A cancellation reached the run, which writes what is left: another would cut that off."""
    saved: CheckpointTuple | None = field(default=None)
    """The newest checkpoint of the thread, read a moment ago: LangGraph, which reads it next, gets this one."""
    calls: int = field(default=0)
    meter: Meter = field(init=False)
    """Of its model calls."""
    locks: dict[Hashable, asyncio.Lock] = field(default_factory=dict)
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One step of the run's progress is written and told at a time: it never goes back."""

    def __post_init__(self) -> None:
        self.meter = Meter(self.run)

    def lock_of(self, proposal: Proposal) -> asyncio.Lock:
        """One execution at a time of one tool call in this run."""
        return self.locks.setdefault(proposal.key, asyncio.Lock())

    def count_call(self) -> None:
        """Raises LimitReached when the run makes more tool calls than it may. Those it repeats count again."""
        self.calls += 1
        if self.calls > settings.RUN_TOOL_CALL_LIMIT:
            raise LimitReached(
                _("The turn made more than %(limit)s tool calls and was stopped. Ask for less at once.")
                % {"limit": settings.RUN_TOOL_CALL_LIMIT}
            )

    async def settle(self, limit: float) -> None:
        """Waits until no tool call is being executed any more, at most `limit` seconds for each."""
        for lock in list(self.locks.values()):
            with suppress(TimeoutError):
                async with asyncio.timeout(limit), lock:
                    pass


current_run: ContextVar[RunContext] = ContextVar("current_run")
current_call: ContextVar[ToolCall] = ContextVar("current_call")
"""The ledger row of the tool call being executed: its id is the idempotency key, its user the requester."""
