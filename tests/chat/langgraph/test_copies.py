"""Threads copied and pruned, runs begun together, and a whole thread followed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from accounts.callers import Caller
from accounts.models import User
from accounts.scopes import EVERY_SCOPE
from assistants.shop.models import Order
from django.db import connection
from pytest_django.fixtures import Settings
from runtime import events, hub
from runtime.engine import Engine
from runtime.invariants import violations
from runtime.models import AuditEvent, Run, RunStatus, Thread

from apps.chat import watching
from apps.chat.langgraph import streams
from apps.chat.watching import Watch
from tests.chat.conftest import Worker
from tests.chat.langgraph.conftest import Program
from tests.chat.langgraph.test_doors import HELLO
from tests.chat.langgraph.test_forks import at, say, states, texts
from tests.chat.langgraph.test_streams import _read, names
from tests.support.asking import perform

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["say"]  # a fixture


def checkpoints(thread: Thread) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM checkpoints WHERE thread_id = %s", [str(thread.pk)])
        return int(cursor.fetchone()[0])


def test_a_copy_has_the_history_and_goes_its_own_way(
    thread: Thread, alices_program: Program, say: Callable[..., Run], engine: Engine
) -> None:
    say("hello")
    say("what is 1+1")

    answer = alices_program.post(f"/threads/{thread.pk}/copy")

    assert answer.status_code == 200, answer.content
    made = answer.json()
    copy = Thread.objects.get(pk=made["thread_id"])
    assert (made["status"], copy.owner, copy.title) == ("idle", thread.owner, "hello")
    assert made["metadata"] == {"graph_id": "shop", "assistant_id": str(thread.assistant_id)}
    first, second = states(alices_program, thread), states(alices_program, copy)
    assert [state["values"] for state in second] == [state["values"] for state in first]
    assert {state["checkpoint"]["thread_id"] for state in second} == {str(copy.pk)}
    assert alices_program.get(f"/threads/{copy.pk}/runs").json() == []
    said = thread.messages.values_list("role", "content")
    assert list(copy.messages.values_list("role", "content")) == list(said)
    assert alices_program.get(f"/threads/{copy.pk}/state").json()["checkpoint"] == second[0]["checkpoint"]

    alices_program.post(f"/threads/{copy.pk}/runs", {**HELLO, "checkpoint_id": at(second[-3])})
    assert perform(engine, copy).status == RunStatus.SUCCESS
    alices_program.post(f"/threads/{copy.pk}/runs", HELLO)
    assert perform(engine, copy).status == RunStatus.SUCCESS
    assert texts(states(alices_program, thread)[0]) == ["hello", "what is 1+1"]
    assert AuditEvent.objects.filter(body__contains="thread.copied").count() == 1
    assert list(violations()) == []


def test_an_empty_thread_is_copied(thread: Thread, alices_program: Program) -> None:
    made = alices_program.post(f"/threads/{thread.pk}/copy").json()

    assert (made["status"], made["values"]) == ("idle", None)
    assert alices_program.get(f"/threads/{made['thread_id']}/state").json()["checkpoint"] is None


def test_what_is_at_work_or_waits_is_not_copied(
    thread: Thread, alices_program: Program, engine: Engine, order: Order, rules: None
) -> None:
    refund = {"messages": [{"role": "user", "content": "Refund order 1042"}]}
    alices_program.post(f"/threads/{thread.pk}/runs", {**HELLO, "input": refund})
    assert alices_program.post(f"/threads/{thread.pk}/copy").status_code == 409
    assert perform(engine, thread).status == RunStatus.WAITING

    assert alices_program.post(f"/threads/{thread.pk}/copy").status_code == 409

    assert Thread.objects.get() == thread


def test_threads_are_pruned_to_their_newest_state(
    thread: Thread, alices_program: Program, say: Callable[..., Run], carol: User,
    program: Callable[..., Program],
) -> None:  # fmt: skip
    say("hello")
    newest = states(alices_program, thread)[0]
    asked = {"thread_ids": [str(thread.pk)], "strategy": "keep_latest"}
    assert program(carol).post("/threads/prune", asked).json() == {"pruned_count": 0}
    assert checkpoints(thread) > 1

    assert alices_program.post("/threads/prune", asked).json() == {"pruned_count": 1}

    assert checkpoints(thread) == 1
    (left,) = states(alices_program, thread)
    assert left["values"] == newest["values"]
    say("what is 1+1")


def test_threads_are_deleted_together_but_for_those_at_work(
    alice: User, carol: User, thread: Thread, worker: Worker, alices_program: Program
) -> None:
    rested = Thread.objects.create(owner=alice, assistant=thread.assistant)
    theirs = Thread.objects.create(owner=carol, assistant=thread.assistant)
    worker.begin()
    asked = {"thread_ids": [str(each.pk) for each in (thread, rested, theirs)]}

    assert alices_program.post("/threads/prune", asked).json() == {"pruned_count": 1}

    left = Thread.objects.filter(deleted_at__isnull=True)
    assert {each.pk for each in left} == {thread.pk, theirs.pk}


def test_runs_of_a_batch_begin_all_or_none(
    alice: User, thread: Thread, alices_program: Program, settings: Settings
) -> None:
    made = alices_program.post("/runs/batch", [HELLO, HELLO])

    assert made.status_code == 200, made.content
    found = {row["run_id"]: row["thread_id"] for row in made.json()}
    assert len(set(found.values())) == len(found) == 2
    assert set(Run.objects.values_list("user", flat=True)) == {alice.pk}
    for wrong in ([HELLO, {"assistant_id": "nobody", "input": {}}], [], [HELLO] * 51, HELLO):
        assert alices_program.post("/runs/batch", wrong).status_code == 422
    settings.USER_RUN_LIMIT = 3
    assert alices_program.post("/runs/batch", [HELLO, HELLO]).status_code == 429
    assert Run.objects.count() == 2


def test_runs_are_cancelled_together(
    thread: Thread, carol: User, worker: Worker, alices_program: Program, program: Callable[..., Program]
) -> None:
    running, queued = worker.begin(), worker.ask()
    alone = Run.objects.get(
        pk=alices_program.post("/runs", {**HELLO, "on_completion": "keep"}).json()["run_id"]
    )
    named = {"thread_id": str(thread.pk), "run_ids": [str(queued.pk)]}

    def states() -> list[str]:
        return [Run.objects.get(pk=run.pk).status for run in (running, queued, alone)]

    stranger = program(carol)
    assert stranger.post("/runs/cancel", named).status_code == 404
    assert stranger.post("/runs/cancel", {"status": "all"}).status_code == 204
    for wrong in ({}, {**named, "status": "all"}, {"run_ids": named["run_ids"]}, {"status": "done"}):
        assert alices_program.post("/runs/cancel", wrong).status_code == 422
    assert alices_program.post("/runs/cancel?action=undo", {"status": "all"}).status_code == 422
    assert states() == ["running", "pending", "pending"]

    assert alices_program.post("/runs/cancel", named).status_code == 204
    assert states() == ["running", "cancelled", "pending"]
    assert alices_program.post("/runs/cancel?action=rollback", {"status": "pending"}).status_code == 204
    assert states() == ["running", "cancelled", "cancelled"]
    alone.refresh_from_db()
    assert alone.hidden_at is not None
    assert alices_program.post("/runs/cancel", {"status": "all"}).status_code == 204
    running.refresh_from_db()
    assert running.cancel_requested_at is not None


# A thread as a whole


def followed(thread: Thread, *, with_steps: bool = True, cursor: str = events.START, until: int) -> list[Any]:
    """The frames of a thread's stream, up to that many ends of runs."""
    caller = Caller(thread.owner, EVERY_SCOPE, "session", None)
    watch = Watch(thread_id=thread.pk, caller=caller, cursor=cursor)
    response = streams.as_thread_events(watch, with_steps=with_steps)

    async def whole() -> list[Any]:
        found: list[Any] = []
        try:
            content: Any = response.streaming_content
            async for piece in content:
                found.append(_read(piece.decode()))
                ends = [
                    each for each in found if each[0] == "metadata" and each[1].get("status") == "run_done"
                ]
                if len(ends) == until:
                    return found
        finally:
            await hub.close()
        return found

    return asyncio.run(asyncio.wait_for(whole(), 30))


def test_a_thread_is_followed_across_its_runs(thread: Thread, worker: Worker) -> None:
    ran = []
    for text in ("hello", "again"):
        run = worker.begin(text)
        worker.wire(run, mode="values", event="values", data={"said": text})
        worker.wire(run, mode="values", gap=True)
        run.finish(RunStatus.SUCCESS)
        ran.append(str(run.pk))

    whole = followed(thread, until=2)
    steps = ["metadata", "values", "metadata"]
    assert names(whole) == steps * 2
    assert [frame[1] for frame in whole if frame[0] == "values"] == [{"said": "hello"}, {"said": "again"}]
    assert whole[-1][1] == {"status": "run_done", "run_id": ran[-1]}
    assert followed(thread, until=1, cursor=whole[2][2]) == whole[3:]
    assert names(followed(thread, with_steps=False, until=2)) == ["metadata"] * 4


def test_a_thread_that_is_idle_is_not_followed_for_ever(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.1)
    monkeypatch.setattr(watching, "IDLE", 0.3)

    assert set(followed(thread, until=1)) == {": heartbeat"}


def test_what_a_thread_may_be_asked_to_stream(thread: Thread, alices_program: Program) -> None:
    assert alices_program.get(f"/threads/{thread.pk}/stream?stream_mode=state_update").status_code == 422
    answer = alices_program.get(f"/threads/{thread.pk}/stream?stream_modes=lifecycle")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    answer.close()
