"""The worker as a process of its own, killed where it hurts most."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from accounts.models import User
from assistants.shop.models import Order, Refund
from django.core import mail
from pytest_django.fixtures import Settings
from runtime import decisions, events, runs
from runtime.models import Message, Run, RunStatus, Thread, ToolCall, ToolState
from runtime.redis_client import redis_client

from tests.support.demo import DemoModel
from tests.support.engines import EngineOn, take_turn
from tests.support.nursery import Process
from tests.support.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

StartWorker = Callable[..., AbstractContextManager[Process]]
Ask = Callable[[Thread, str], ToolCall]
Finish = Callable[[Thread], Run]


@pytest.fixture
def worker(demo_model: DemoModel, tmp_path: Path, transactional_db: None) -> StartWorker:
    """`with worker(COUNTERSIGN_TESTPOINT="before_effect") as process:` with leases short enough to wait for."""

    @contextmanager
    def start(**env: str) -> Iterator[Process]:
        quick = {
            "OPENAI_BASE_URL": demo_model.base_url,
            "OPENAI_MODEL": "demo-model",
            "COUNTERSIGN_RUN_LEASE": "2",
            "COUNTERSIGN_RUN_HEARTBEAT": "0.5",
            "COUNTERSIGN_HOME": str(tmp_path),
        }
        with Process("worker", **{**quick, **env}) as process:
            yield process

    return start


def status(run: Run) -> str:
    return Run.objects.get(pk=run.pk).status


@pytest.fixture
def ask(engine_on: EngineOn) -> Callable[[Thread, str], ToolCall]:
    """Has the engine of this process bring the thread to a waiting tool call."""

    def make(thread: Thread, text: str) -> ToolCall:
        with engine_on() as engine:
            assert take_turn(engine, thread, text).status == RunStatus.WAITING
        return thread.tool_calls.get(state=ToolState.WAITING)

    return make


@pytest.fixture
def finish(engine_on: EngineOn) -> Callable[[Thread], Run]:
    """Has the engine of this process take over what a dead worker left, as any other worker would."""

    def take_over(thread: Thread) -> Run:
        run = thread.runs.latest("created_at")
        with engine_on() as engine:
            until(lambda: status(run) == RunStatus.PENDING)
            engine.perform(str(run.pk))
        run.refresh_from_db()
        return run

    return take_over


def test_it_performs_many_runs_at_once(thread: Thread, alice: User, worker: StartWorker) -> None:
    threads = [Thread.objects.create(owner=alice, assistant=thread.assistant) for _ in range(20)]
    with worker(OPENAI_MODEL="demo-model+tokens=20,delay=0.05"):
        started = [runs.send_message(thread, alice, "go") for thread in threads]
        until(lambda: Run.objects.filter(status=RunStatus.RUNNING).count() >= 10, seconds=30)
        until(lambda: Run.objects.filter(status=RunStatus.SUCCESS).count() == len(started), seconds=60)


@pytest.mark.parametrize("point", ["before_permit", "before_effect", "after_effect"])
def test_a_refund_whose_worker_is_killed_happens_once(
    thread: Thread,
    order: Order,
    rules: None,
    bob: User,
    worker: StartWorker,
    ask: Ask,
    finish: Finish,
    point: str,
) -> None:
    call = ask(thread, "Refund order 1042")
    with worker(COUNTERSIGN_TESTPOINT=point) as doomed:
        decisions.decide(bob, call.pk, {"type": "approve"})
        until(doomed.has_died)

    assert finish(thread).status == RunStatus.SUCCESS
    call.refresh_from_db()
    assert call.state == ToolState.DONE
    assert Refund.objects.count() == 1


@pytest.mark.parametrize(("point", "sent"), [("before_effect", 0), ("after_effect", 1)])
def test_an_e_mail_whose_worker_is_killed_is_never_sent_twice_and_a_person_settles_it(
    thread: Thread,
    rules: None,
    bob: User,
    worker: StartWorker,
    ask: Ask,
    finish: Finish,
    engine_on: EngineOn,
    tmp_path: Path,
    point: str,
    sent: int,
) -> None:
    call = ask(thread, "e-mail bob@example.com that it is late")
    with worker(COUNTERSIGN_TESTPOINT=point) as doomed:
        decisions.decide(bob, call.pk, {"type": "approve"})
        until(doomed.has_died)

    assert finish(thread).status == RunStatus.WAITING
    call.refresh_from_db()
    assert call.state == ToolState.UNKNOWN
    assert len(list((tmp_path / "mail").glob("*"))) == sent
    assert mail.outbox == []

    decisions.decide(bob, call.pk, {"type": "respond", "message": "I looked, it is settled."})
    with engine_on() as engine:
        engine.perform(str(thread.runs.latest("created_at").pk))
    assert thread.runs.latest("created_at").status == RunStatus.SUCCESS
    call.refresh_from_db()
    assert (call.state, call.result) == (ToolState.RESPONDED, "I looked, it is settled.")


def test_a_run_cut_in_the_middle_of_its_answer_is_finished_by_another_worker(
    thread: Thread, alice: User, worker: StartWorker, finish: Finish
) -> None:
    slow = "demo-model+tokens=60,delay=0.05"
    with worker(OPENAI_MODEL=slow) as doomed:
        run = runs.send_message(thread, alice, "go")
        until(lambda: redis_client().xlen(events.log_key(thread.pk)) > 5)
        doomed.kill()
    assert finish(thread).status == RunStatus.SUCCESS

    run.refresh_from_db()
    assert run.attempt == 2
    assert Message.objects.filter(thread=thread, role="ai").count() == 1


def test_a_worker_told_to_stop_gives_its_runs_back_and_leaves(
    thread: Thread, alice: User, worker: StartWorker
) -> None:
    """One long answer is one step: it is not waited for, and the worker has not died of it."""
    with worker(OPENAI_MODEL="demo-model+tokens=1000,delay=0.05", COUNTERSIGN_WORKER_DRAIN="0.5") as first:
        run = runs.send_message(thread, alice, "go")
        until(lambda: status(run) == RunStatus.RUNNING)
        first.send(signal.SIGTERM)
        until(first.has_died)
        assert first.exit_code == 0
    run.refresh_from_db()
    assert (run.status, run.attempt, run.drains) == (RunStatus.PENDING, 1, 1)

    with worker():
        until(lambda: status(run) == RunStatus.SUCCESS)
    assert Message.objects.filter(thread=thread, role="ai").count() == 1


def test_an_endpoint_that_goes_away_with_the_worker_fails_no_run(
    thread: Thread, alice: User, worker: StartWorker
) -> None:
    with DemoModel(delay=50) as model, worker(OPENAI_BASE_URL=model.base_url) as first:
        run = runs.send_message(thread, alice, "tell me a long story")
        until(lambda: status(run) == RunStatus.RUNNING)
        until(lambda: b"token" in str(redis_client().xrange(events.log_key(thread.pk))).encode())
        first.send(signal.SIGTERM)
        model.process.kill()
        until(first.has_died)

    assert status(run) == RunStatus.PENDING


def test_runs_are_taken_from_the_database_while_redis_is_away(
    thread: Thread, alice: User, settings: Settings, engine_on: EngineOn
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    redis_client.cache_clear()
    try:
        run = runs.send_message(thread, alice, "hello")
        with engine_on():
            until(lambda: status(run) == RunStatus.SUCCESS)
    finally:
        redis_client.cache_clear()


def test_redis_losing_everything_loses_no_run(thread: Thread, alice: User, worker: StartWorker) -> None:
    run = runs.send_message(thread, alice, "hello")
    redis_client().flushall()
    with worker():
        until(lambda: status(run) == RunStatus.SUCCESS)
