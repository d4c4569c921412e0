"""The ledger rows that interrupts of a graph leave, and the runs that answer them."""

from __future__ import annotations

from typing import Any

from runtime.engine import Engine
from runtime.models import Run, RunStatus, Thread, ToolCall


def perform(engine: Engine, thread: Thread) -> Run:
    """All runs that are queued on the thread; the last of them."""
    pending = thread.runs.filter(status=RunStatus.PENDING).order_by("created_at")
    while run := pending.first():
        engine.perform(str(run.pk))
        assert not pending.filter(pk=run.pk).exists(), "nobody may claim it, or it was given back"
    newest = thread.runs.order_by("-created_at").first()
    assert newest is not None
    return newest


def rows(thread: Thread) -> list[ToolCall]:
    return list(thread.tool_calls.order_by("interrupt_id", "position"))


def named(thread: Thread, **args: Any) -> ToolCall:
    return thread.tool_calls.get(**{f"args__{name}": value for name, value in args.items()})
