"""Tool calls as the gateway writes them, without a graph behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from runtime import ledger
from runtime.models import Run, ToolCall


def proposed_by(
    run: Run, tool: str = "refund_order", args: Mapping[str, Any] | None = None, **fields: Any
) -> ToolCall:
    """The row of a call that nobody has judged yet."""
    args = dict(args or {})
    row = {
        "thread": run.thread,
        "user": run.user,
        "assistant": run.assistant,
        "task_id": str(uuid4()),
        "call_id": str(uuid4()),
        "proposed_args": args,
        "args": args,
        "args_digest": ledger.digest(args),
    }
    return ToolCall.objects.create(run=run, tool=tool, **{**row, **fields})
