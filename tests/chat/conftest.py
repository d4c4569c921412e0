"""Rows and events as a worker writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from runtime import events, runs
from runtime.models import Message, Role, Run, Thread, ToolCall, message_key
from runtime.redis_client import redis_client
from runtime.schemas import EventName

from tests.support.decided import VERDICTS, decided

# The states a tool call goes through on its way to each one.
WAYS: dict[str, tuple[str, ...]] = {
    "proposed": (),
    "waiting": ("waiting",),
    "approved": ("approved",),
    "running": ("approved", "running"),
    "done": ("approved", "running", "done"),
    "failed": ("approved", "running", "failed"),
    "rejected": ("waiting", "rejected"),
    "responded": ("waiting", "responded"),
    "denied": ("denied",),
    "expired": ("waiting", "expired"),
    "superseded": ("waiting", "superseded"),
    "cancelled": ("waiting", "cancelled"),
    "unknown": ("approved", "running", "unknown"),
}


@pytest.fixture(autouse=True)
def empty_redis(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "db" in request.fixturenames or "transactional_db" in request.fixturenames:
        redis_client().flushdb()


class Worker:
    """Does to a thread what a worker does, without a graph."""

    def __init__(self, thread: Thread) -> None:
        self.thread = thread

    def ask(self, text: str = "Hello") -> Run:
        return runs.send_message(self.thread, self.thread.owner, text)

    def start(self, run: Run) -> Run:
        claimed = Run.claim(run.pk, "test")
        assert claimed is not None
        self.announce("run", claimed, status="running", attempt=claimed.attempt)
        return claimed

    def begin(self, text: str = "Hello") -> Run:
        """A run that is at work on `text`."""
        return self.start(self.ask(text))

    def stream(self, run: Run, message_id: str, *texts: str) -> str:
        """Streams the beginning of a message, or more of it; returns its key."""
        key = message_key(message_id)
        known = [event["data"].get("key") for event in self.log()]
        if key not in known:
            self.announce("message_started", run, key=key)
        for text in texts:
            self.announce("token", run, key=key, text=text)
        return key

    def say(self, run: Run, message_id: str, text: str, *, is_partial: bool = False) -> Message:
        message = Message.objects.create(
            thread=self.thread,
            run=run,
            message_id=message_id,
            role=Role.AI,
            content=text,
            is_partial=is_partial,
        )
        self.announce("message", run, pk=message.pk, key=message.key)
        return message

    def call(self, run: Run, state: str = "waiting", **fields: Any) -> ToolCall:
        arguments = {"order_number": 1042, "amount": "59.90"}
        call = ToolCall.objects.create(
            thread=self.thread, run=run, user=run.user, assistant=run.assistant, tool="refund_order",
            task_id=f"task-{ToolCall.objects.count()}", call_id="call", args_digest="-",
            proposed_args=arguments, args=arguments, policy="Refunds wait",
        )  # fmt: skip
        for step in WAYS[state]:
            started = {"started_at": Now()} if step == "running" else {}
            go = partial(decided, call) if call.state == "waiting" and step in VERDICTS else call.advance
            assert go(step, **started, **(fields if step == state else {}))
        return call

    def announce(self, event: EventName, run: Run, **data: Any) -> None:
        events.announce(self.thread.pk, event, run.pk, data)

    def wire(self, run: Run, **data: Any) -> None:
        """What a program asked to be streamed."""
        events.announce(self.thread.pk, "wire", run.pk, data)

    def forget(self) -> None:
        """Redis loses everything."""
        redis_client().flushdb()

    def log(self) -> list[Any]:
        entries: Any = redis_client().xrange(events.log_key(self.thread.pk))
        return [events.parse(id.decode(), fields[b"e"].decode()) for id, fields in entries]


@pytest.fixture
def worker(thread: Thread) -> Worker:
    return Worker(thread)


@pytest.fixture
def alices(thread: Thread, signed_in: Callable[..., Client]) -> Client:
    """alice's browser."""
    return signed_in(thread.owner)
