"""What stands on a thread's page, and in which order."""

from __future__ import annotations

import pytest
from runtime import runs
from runtime.models import RunStatus, Thread, ToolState

from apps.chat import timeline
from apps.chat.cards import LOOKS
from apps.chat.rendering import render_item
from apps.chat.timeline import Timeline, composer_of, snapshot
from tests.chat.conftest import WAYS, Worker
from tests.support.decided import decided


def shown(found: Timeline) -> list[str]:
    return [words_of(item.content) for item in found.items]


def words_of(content: object) -> str:
    return str(getattr(content, "content", None) or getattr(content, "text", content))


def html_of(thread: Thread) -> str:
    return "".join(render_item(thread, item) for item in snapshot(thread).items)


def test_it_shows_the_open_message_at_the_end_of_its_turn(worker: Worker, thread: Thread) -> None:
    run = worker.begin("first")
    worker.stream(run, "m", "half an ", "answer")
    worker.ask("second")

    assert shown(snapshot(thread)) == ["first", "half an answer", "second"]


def test_a_message_in_the_database_is_not_open_too(worker: Worker, thread: Thread) -> None:
    run = worker.begin("first")
    worker.stream(run, "m", "half")
    worker.thread.messages.create(run=run, message_id="m", role="ai", content="the whole")

    assert shown(snapshot(thread)) == ["first", "the whole"]


def test_a_queued_message_stands_after_the_answer_before_it(worker: Worker, thread: Thread) -> None:
    run = worker.begin("first")
    worker.ask("second")
    worker.say(run, "m", "answer to the first")

    assert shown(snapshot(thread)) == ["first", "answer to the first", "second"]


def test_a_resumed_turn_goes_on_where_it_waited(worker: Worker, thread: Thread) -> None:
    run = worker.begin("first")
    worker.ask("second")
    call = worker.call(run)
    run.finish(RunStatus.WAITING)
    call.advance(ToolState.CANCELLED)
    worker.say(worker.start(runs.resume(call)), "m", "went on")

    assert [text for text in shown(snapshot(thread)) if not text.startswith("Card")] == [
        "first",
        "went on",
        "second",
    ]


def test_a_message_that_can_t_begin_yet_is_said_to_queue(worker: Worker, thread: Thread) -> None:
    worker.begin("first")
    worker.ask("second")

    assert [item.is_queued for item in snapshot(thread).items] == [False, True]


def test_a_message_behind_a_waiting_call_is_said_to_queue(worker: Worker, thread: Thread) -> None:
    run = worker.begin("first")
    worker.ask("second")
    worker.call(run)
    run.finish(RunStatus.WAITING)

    assert [item.is_queued for item in snapshot(thread).items] == [False, False, True]


@pytest.mark.parametrize("status", ["error", "timeout", "cancelled"])
def test_a_run_that_ended_badly_can_be_tried_again(worker: Worker, thread: Thread, status: str) -> None:
    worker.begin("refund it").finish(status, error="The endpoint is away.")

    notice = snapshot(thread).items[-1]

    assert notice.retry == "refund it"
    assert "The endpoint is away." in render_item(thread, notice)


@pytest.mark.parametrize("state", list(WAYS))
def test_every_state_of_a_tool_call_has_a_card(worker: Worker, thread: Thread, state: str) -> None:
    worker.call(worker.begin(), state)

    html = html_of(thread)

    assert str(ToolState(state).label) in html
    assert ("Withdraw" in html) == (state == "waiting")
    assert (" open>" in html) == (state in ("proposed", "waiting", "approved", "running", "unknown"))


def test_every_state_has_its_look() -> None:
    assert set(LOOKS) == set(ToolState.values) == set(WAYS)


def test_it_shows_what_the_reviewer_changed(worker: Worker, thread: Thread) -> None:
    call = worker.call(worker.begin(), "waiting")
    assert decided(call, ToolState.APPROVED, args={"order_number": 1042, "amount": "49.90"})

    html = html_of(thread)

    assert "Proposed: </span>59.90</del>" in html
    assert "Now: </span>49.90</ins>" in html


def test_what_tools_and_people_write_is_escaped(worker: Worker, thread: Thread) -> None:
    evil = "<img src=x onerror=alert(1)>"
    run = worker.begin(evil)
    worker.stream(run, "m", evil)
    worker.call(run, "failed", error=evil, result=evil, reason=evil)
    run.finish(RunStatus.ERROR, error=evil)

    assert "<img" not in html_of(thread)


def test_a_long_thread_shows_its_end_first(
    worker: Worker, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "RECENT", 2)
    run = worker.begin("old")
    worker.call(run, "done")
    for number in range(3):
        worker.say(run, str(number), f"answer {number}")

    assert shown(snapshot(thread)) == ["answer 1", "answer 2"]
    assert snapshot(thread).has_earlier
    assert len(snapshot(thread, everything=True).items) == 5


def test_the_composer_is_blocked_while_a_call_waits(worker: Worker, thread: Thread) -> None:
    run = worker.begin()
    worker.call(run)
    run.finish(RunStatus.WAITING)

    composer = composer_of(thread)

    assert (composer.status, composer.is_blocked, composer.run) == ("waiting", True, None)


def test_stop_means_the_run_at_work(worker: Worker, thread: Thread) -> None:
    run = worker.begin("first")
    worker.ask("second")

    assert composer_of(thread).run == run


def test_stop_is_under_way_until_the_worker_has_stopped(worker: Worker, thread: Thread) -> None:
    runs.cancel_run(worker.begin())

    assert composer_of(thread).status == "stopping"
