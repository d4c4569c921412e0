"""Who a graph is running for. Set by the runner, inherited by every task the graph starts."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from runtime.models import Run, ToolCall


@dataclass
class RunContext:
    run: Run
    why: str = field(default="")
    """What the model said last: shown beside the tool calls it proposed with it."""


current_run: ContextVar[RunContext] = ContextVar("current_run")
current_call: ContextVar[ToolCall] = ContextVar("current_call")
"""The ledger row of the tool call being executed: its id is the idempotency key, its user the requester."""
