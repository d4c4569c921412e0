"""What streams tell when a run ends, when the log is gone, and to whom it is no longer for."""

from __future__ import annotations

from typing import Any

import pytest
from accounts.callers import Caller
from accounts.scopes import EVERY_SCOPE
from runtime.models import RunStatus, Thread

from apps.chat import watching
from apps.chat.api import feed
from tests.chat.api.conftest import Program, names, streamed
from tests.chat.conftest import Worker
from tests.chat.leaving import WAYS, left

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.2)
    monkeypatch.setattr(watching, "IDLE", 0.3)


def listen(program: Program, thread: Thread, after: str = "") -> list[Any]:
    headers = {"Last-Event-ID": after} if after else {}
    return program.listen("GET", f"/events/{thread.pk}", **headers)


def test_how_far_a_graph_is_that_counts_is_told(
    alices_program: Program, thread: Thread, worker: Worker
) -> None:
    run = worker.begin()
    worker.announce("progress", run, done=1, total=3)
    run.finish(RunStatus.SUCCESS)

    told = [data for name, data, _ in listen(alices_program, thread, "0") if name == "progress"]

    assert told == [{"run_id": str(run.pk), "session_id": str(thread.pk), "done": 1, "total": 3}]


def test_every_event_comes_once_after_where_the_client_stopped(
    alices_program: Program, thread: Thread, worker: Worker
) -> None:
    run = worker.begin("Hello")
    worker.stream(run, "m", "Hi", " there")
    worker.wire(run, mode="values", event="values", data={})
    worker.say(run, "m", "Hi there")
    worker.call(run, "done")
    run.finish(RunStatus.SUCCESS)

    whole = listen(alices_program, thread, "0")

    assert names(whole) == [
        "message", "run", "run", "message_started", "token", "token", "message",
        "tool_call", "tool_call", "tool_call", "end",
    ]  # fmt: skip
    assert whole[-1][1]["answer"] == "Hi there"
    assert [data["state"] for name, data, _ in whole if name == "tool_call"] == [
        "approved",
        "running",
        "done",
    ]
    for at in (0, 4, 9):
        assert listen(alices_program, thread, whole[at][2]) == whole[at + 1 :]
    assert alices_program.listen("GET", f"/events/{thread.pk}?last_event_id={whole[4][2]}") == whole[5:]
    assert listen(alices_program, thread, whole[-1][2]) == []


def test_without_an_id_it_begins_with_how_it_stands(
    alices_program: Program, thread: Thread, worker: Worker
) -> None:
    run = worker.begin("Hello")
    worker.stream(run, "m", "Hi")
    waiting = worker.call(run)

    live = streamed(alices_program.get(f"/events/{thread.pk}"), stop="session")
    run.finish(RunStatus.WAITING)
    resting, *rest = streamed(alices_program.get(f"/events/{thread.pk}"), stop="end")

    assert names(live) == ["session"]
    said = live[0][1]
    assert said["live"] == [{"run_id": str(run.pk), "status": "running"}]
    assert resting[1]["live"] == []
    assert [message["text"] for message in said["messages"]] == ["Hello"]
    assert [message["text"] for message in said["streaming"]] == ["Hi"]
    assert [call["tool_call_id"] for call in said["approvals"]] == [str(waiting.pk)]
    assert names(rest) == ["end"]
    assert rest[0][1]["status"] == "interrupted"
    assert [each["tool_call_id"] for each in rest[0][1]["interrupts"]] == [str(waiting.pk)]


@pytest.mark.parametrize("after", ["", "0", "newest"])
def test_a_log_that_is_gone_is_answered_from_the_database(
    alices_program: Program, thread: Thread, worker: Worker, after: str
) -> None:
    run = worker.begin("Hello")
    worker.say(run, "m", "Hi")
    run.finish(RunStatus.SUCCESS)
    cursor = worker.log()[-2]["id"] if after == "newest" else after
    worker.forget()

    told = listen(alices_program, thread, cursor)

    assert names(told) == ["session", "end"]
    assert [message["text"] for message in told[0][1]["messages"]] == ["Hello", "Hi"]
    assert (told[1][1]["answer"], told[1][1]["run_id"]) == ("Hi", str(run.pk))


def test_a_log_without_its_beginning_is_not_taken_for_whole(
    alices_program: Program, thread: Thread, worker: Worker
) -> None:
    run = worker.begin("Hello")
    worker.forget()
    worker.say(run, "m", "Hi")
    run.finish(RunStatus.SUCCESS)

    assert names(listen(alices_program, thread, "0")) == ["session", "end"]


def test_what_a_dead_workers_attempt_left_is_taken_back(
    alices_program: Program, thread: Thread, worker: Worker
) -> None:
    run = worker.begin("Hello")
    worker.stream(run, "lost", "Never fini")
    cursor = worker.log()[-1]["id"]
    worker.announce("run", run, status="running", attempt=2)
    worker.say(run, "m", "Hi")
    run.finish(RunStatus.SUCCESS)

    told = listen(alices_program, thread, cursor)

    assert names(told) == ["session", "end"]
    assert told[0][1]["streaming"] == []


def test_an_approval_is_told_as_one(alices_program: Program, thread: Thread, worker: Worker) -> None:
    run = worker.begin("Hello")
    call = worker.call(run)
    run.finish(RunStatus.WAITING)

    told = [data for name, data, _ in streamed(alices_program.get(f"/events/{thread.pk}?last_event_id=0"), "end")
            if name == "approval"]  # fmt: skip

    assert [(each["tool_call_id"], each["tool"], each["args"]) for each in told] == [
        (str(call.pk), "refund_order", {"order_number": 1042, "amount": "59.90"})
    ]


def test_a_text_of_the_model_stays_inside_its_event(
    alices_program: Program, thread: Thread, worker: Worker
) -> None:
    run = worker.begin("Hello")
    worker.say(run, "m", "a\n\nevent: end\ndata: null\n\n\u2028")
    run.finish(RunStatus.SUCCESS)

    assert names(listen(alices_program, thread, "0")).count("end") == 1


@pytest.mark.parametrize("how", WAYS)
def test_who_may_no_longer_listen_hears_nothing_more(thread: Thread, worker: Worker, how: str) -> None:
    worker.begin()
    cursor, caller = worker.log()[-1]["id"], Caller(thread.owner, EVERY_SCOPE, "key")
    credential = left(thread, how)
    watch = watching.Watch(thread_id=thread.pk, caller=caller, cursor=cursor, credential=credential)

    assert streamed(feed.response(watch, from_state=False)) == []
