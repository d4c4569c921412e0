"""Stop ends a turn that runs, whatever it is doing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from pytest_django.fixtures import Settings
from runtime import engine as engines
from runtime import events, runs
from runtime.engine import Engine
from runtime.models import Assistant, Message, Run, RunStatus, Thread
from runtime.redis_client import redis_client

from tests.support.engines import EngineOn
from tests.support.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

ENDLESS = "demo-model+tokens=1000,delay=0.02"


@contextmanager
def stopped(engine: Engine, run: Run, *, within: float = 2.0) -> Iterator[None]:
    """Performs the run, stops it when the block is left, and waits for its end."""
    performing = engine.start(str(run.pk))
    yield
    run.refresh_from_db()
    assert runs.cancel_run(run)
    asked = time.monotonic()
    performing.result(20)
    assert time.monotonic() - asked < within
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED


def test_it_keeps_what_was_said(thread: Thread, engine_on: EngineOn) -> None:
    with engine_on(ENDLESS) as engine, stopped(engine, runs.send_message(thread, thread.owner, "go on")):
        until(lambda: tokens_of(thread) >= 5)

    partial = Message.objects.get(thread=thread, role="ai")
    assert partial.is_partial
    assert partial.content


def tokens_of(thread: Thread) -> int:
    entries = redis_client().xrange(events.log_key(thread.pk))
    return sum(json.loads(fields[b"e"])["event"] == "token" for _, fields in entries)


def test_it_reaches_a_run_while_a_library_keeps_the_cancellation_to_itself(
    thread: Thread, engine_on: EngineOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio.wait_for does in Python 3.11, which redis-py sends with."""
    kept: list[str] = []
    append = events.Writer.append

    async def keeping(self: events.Writer, *args: Any, **options: Any) -> None:
        await append(self, *args, **options)
        if (task := asyncio.current_task()) and task.get_name().startswith("run "):
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                kept.append(task.get_name())

    monkeypatch.setattr(events.Writer, "append", keeping)
    with engine_on(ENDLESS) as engine, stopped(engine, runs.send_message(thread, thread.owner, "go on")):
        until(lambda: tokens_of(thread) >= 1)

    assert kept


began, may_end, ended = threading.Event(), threading.Event(), threading.Event()


def graph() -> Any:
    """Does not stop when told to."""

    async def work(state: MessagesState) -> dict[str, Any]:
        began.set()
        while not may_end.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        ended.set()
        return {}

    builder = StateGraph(MessagesState)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    return builder.compile()


def test_a_graph_that_does_not_stop_is_left_behind(
    thread: Thread, engine_on: EngineOn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.COUNTERSIGN_GRAPHS, settings.RUN_HEARTBEAT = {"stubborn": "tests.runtime.test_stop:graph"}, 0.5
    monkeypatch.setattr(engines, "STOP_AGAIN", 0.5)
    stubborn = Assistant.objects.create(graph_id="stubborn", name="Stubborn")
    Thread.objects.filter(pk=thread.pk).update(assistant=stubborn)
    thread.refresh_from_db()
    with engine_on() as engine:
        with stopped(engine, runs.send_message(thread, thread.owner, "go on"), within=5):
            assert began.wait(10)
        may_end.set()
        assert ended.wait(10)


def test_who_waits_for_a_run_that_can_t_be_ended_goes_on_when_its_engine_is_gone(
    thread: Thread, engine_on: EngineOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's parked threads wait for it, and a process ends only after its threads."""

    async def deaf(*_: Any) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    monkeypatch.setattr(Engine, "_perform", deaf)
    with engine_on() as engine:
        performing = engine.start(str(runs.send_message(thread, thread.owner, "go on").pk))
        until(lambda: thread.runs.get().status == RunStatus.RUNNING)

    with pytest.raises(CancelledError):
        performing.result(5)


def test_an_engine_that_ends_gives_back_what_it_holds(thread: Thread, engine_on: EngineOn) -> None:
    run = runs.send_message(thread, thread.owner, "go on")
    with engine_on(ENDLESS) as engine:
        performing = engine.start(str(run.pk))
        until(lambda: tokens_of(thread) >= 5)

    assert performing.result(1) == "lease lost"
    run.refresh_from_db()
    assert (run.status, run.drains) == (RunStatus.PENDING, 1)
    assert not asyncio.all_tasks(engine._loop)


def test_a_run_that_is_claimed_as_its_engine_ends_is_given_back(
    thread: Thread, engine_on: EngineOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.send_message(thread, thread.owner, "Hello")
    claim, is_claiming = Run.claim, threading.Event()

    def slowly(*args: Any, **kwargs: Any) -> Run | None:
        is_claiming.set()
        time.sleep(0.3)
        return claim(*args, **kwargs)

    with engine_on() as engine:
        monkeypatch.setattr(Run, "claim", slowly)
        claiming = engine.start(str(run.pk))
        assert is_claiming.wait(10)

    assert claiming.result(1) == "left for another worker"
    run.refresh_from_db()
    assert run.status == RunStatus.PENDING
