"""Rows as the engine leaves them, and a clean start for what a process keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from accounts.models import User
from runtime import ledger
from runtime.models import Message, Role, Run, Thread, ToolCall
from runtime.redis_client import redis_client

from apps.observability import downloads, health
from apps.observability.metrics import COLLECTOR

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def _nothing_kept(valkey: object) -> Iterator[None]:
    """Neither answers that health and metrics keep for seconds, nor Redis' keys."""
    _forget()
    redis_client().flushdb()
    yield
    _forget()


def _forget() -> None:
    downloads._open.clear()
    COLLECTOR.forget()
    for check in health.ALL:
        check.forget()


@pytest.fixture
def make_run(thread: Thread) -> Callable[..., Run]:
    def make(status: str = "success", **fields: Any) -> Run:
        owner = fields.get("thread", thread).owner
        times = (
            {"created_at": at(0), "started_at": at(0.1), "ended_at": at(2.1)} if status != "pending" else {}
        )
        defaults = {"thread": thread, "assistant": thread.assistant, "user": owner, **times}
        return Run.objects.create(status=status, **{**defaults, **fields})

    return make


@pytest.fixture
def make_call(make_run: Callable[..., Run]) -> Callable[..., ToolCall]:
    def make(state: str = "done", **fields: Any) -> ToolCall:
        run = fields.pop("run", None) or make_run()
        args = fields.pop("args", {"order_number": 1042, "amount": "59.90"})
        number = ToolCall.objects.count()
        defaults = {
            "run": run,
            "thread": run.thread,
            "user": run.user,
            "assistant": run.assistant,
            "task_id": f"task-{number}",
            "call_id": f"call-{number}",
            "tool": "refund_order",
            "sensitive": True,
            "proposed_args": args,
            "args": args,
            "args_digest": ledger.digest(args),
            "created_at": at(1),
        }
        return ToolCall.objects.create(state=state, **{**defaults, **fields})

    return make


@pytest.fixture
def approved_turn(
    make_run: Callable[..., Run], make_call: Callable[..., ToolCall], bob: User
) -> tuple[Run, Run, ToolCall]:
    """A turn that waited, was approved by bob, and was resumed: (first run, second run, tool call)."""
    first = make_run("waiting", input_tokens=10, output_tokens=5, worker="w1", attempt=1)
    second = make_run(
        resumes=first,
        command={"resume": {}},
        created_at=at(60),
        started_at=at(60.1),
        ended_at=at(62),
        input_tokens=20,
        output_tokens=7,
    )
    call = make_call(
        run=second,
        policy="Refunds wait",
        decision="approve",
        decided_by=bob,
        decided_at=at(59),
        reason="goodwill",
        started_at=at(60.5),
        finished_at=at(61),
        result="Refunded.",
    )
    Message.objects.create(
        thread=first.thread,
        run=first,
        role=Role.HUMAN,
        message_id="1",
        content="Refund 1042",
        created_at=at(0),
    )
    Message.objects.create(
        thread=first.thread, run=second, role=Role.AI, message_id="2", content="Done.", created_at=at(61.5)
    )
    return first, second, call
