"""A message that comes while a turn is under way, on a real graph: what the thread remembers afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from accounts.models import User
from assistants.shop.models import Order
from runtime import runs
from runtime.admission import WhenBusy
from runtime.engine import Engine
from runtime.models import Run, RunStatus, Thread, ToolState
from runtime.redis_client import redis_client

from tests.support.engines import EngineOn, take_turn
from tests.support.history import history_of, said
from tests.support.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

SLOW = "demo-model+tokens=1000,delay=0.02"
QUICK = "demo-model+tokens=20,delay=0"


@contextmanager
def streaming(engine: Engine, thread: Thread, text: str) -> Iterator[Run]:
    """A turn that is in the middle of its answer; it has ended when the block is left."""
    run = runs.send_message(thread, thread.owner, text)
    performing = engine.start(str(run.pk))
    until(lambda: b"token" in b"".join(fields[b"e"] for _, fields in log_of(thread)))
    yield run
    performing.result(10)
    run.refresh_from_db()


def log_of(thread: Thread) -> list[tuple[bytes, dict[bytes, bytes]]]:
    entries: list[tuple[bytes, dict[bytes, bytes]]] = redis_client().xrange(f"thread:{{{thread.pk}}}:log")  # type: ignore[assignment]
    return entries


@pytest.fixture
def text_again(engine_on: EngineOn) -> Callable[[Thread, WhenBusy], tuple[Run, Run]]:
    """While an answer streams, says "instead": (the run that was stopped, the run that took its place)."""

    def make(thread: Thread, when_busy: WhenBusy) -> tuple[Run, Run]:
        with engine_on(SLOW) as engine, streaming(engine, thread, "at first") as stopped:
            new = runs.send_message(thread, thread.owner, "instead", when_busy=when_busy)
        with engine_on(QUICK) as engine:
            engine.perform(str(new.pk))
        new.refresh_from_db()
        return stopped, new

    return make


def test_interrupt_keeps_what_was_said(thread: Thread, text_again: Callable[..., tuple[Run, Run]]) -> None:
    stopped, new = text_again(thread, "interrupt")

    assert (stopped.status, new.status) == (RunStatus.CANCELLED, RunStatus.SUCCESS)
    assert said(thread) == ["at first", "instead"]


def test_rollback_begins_where_the_stopped_turn_began(
    thread: Thread, engine_on: EngineOn, text_again: Callable[..., tuple[Run, Run]]
) -> None:
    with engine_on(QUICK) as engine:
        take_turn(engine, thread, "hello")

    stopped, new = text_again(thread, "rollback")

    assert (stopped.status, new.status) == (RunStatus.CANCELLED, RunStatus.SUCCESS)
    assert said(thread) == ["hello", "instead"]


def test_rollback_of_the_first_turn_begins_anew(
    thread: Thread, text_again: Callable[..., tuple[Run, Run]]
) -> None:
    text_again(thread, "rollback")

    assert said(thread) == ["instead"]


def test_the_model_is_told_what_a_stopped_call_really_did(
    thread: Thread, engine_on: EngineOn, order: Order, alice: User
) -> None:
    """The ledger knows more than the graph, which was stopped before it heard of the result."""
    with engine_on() as engine:
        take_turn(engine, thread, "hello")
        run = runs.send_message(thread, alice, "look up order 1042")
        runs.cancel_run(run)
    with engine_on() as engine:
        take_turn(engine, thread, "look up order 1042")
    call = thread.tool_calls.get()
    assert call.state == ToolState.DONE

    assert [message.content for message in history_of(thread) if message.type == "tool"] == [call.result]
