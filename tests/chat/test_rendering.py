"""What a page is sent of a batch of events, and what is read for it."""

from __future__ import annotations

from typing import Any

from pytest_django import DjangoAssertNumQueries
from runtime.models import Run, Thread, ToolState

from apps.chat.rendering import Page
from tests.chat.conftest import Worker
from tests.support.decided import decided


def items(frames: list[dict[str, Any]], start: str) -> list[str]:
    return [frame["item"] for frame in frames if frame.get("item", "").startswith(start)]


def test_what_changes_twice_in_a_batch_is_drawn_once(
    worker: Worker, thread: Thread, django_capture_on_commit_callbacks: Any
) -> None:
    run = worker.begin()
    with django_capture_on_commit_callbacks(execute=True):
        call = worker.call(run)
        assert decided(call, ToolState.APPROVED)

    frames = Page(thread.pk).frames_of(worker.log())

    assert len(items(frames, "tool-call")) == 1
    assert [frame.get("morph") for frame in frames].count("composer") == 1
    assert "approved" in next(frame["content"] for frame in frames if "tool-call" in frame.get("item", ""))


def test_every_event_leaves_its_id(worker: Worker, thread: Thread) -> None:
    """A page resumes after the last id it saw: an event without one would come again, or never."""
    run = worker.begin()
    worker.stream(run, "m", "a")
    worker.call(run)
    log = worker.log()

    frames = Page(thread.pk).frames_of(log)

    assert [frame["id"] for frame in frames if "id" in frame] == [event["id"] for event in log]


def test_tokens_that_follow_each_other_are_one_frame(worker: Worker, thread: Thread) -> None:
    run = worker.begin()
    worker.stream(run, "m", "a", "b", "a")
    worker.stream(run, "n", "c")
    worker.stream(run, "m", "d")
    log = worker.log()

    frames = Page(thread.pk).frames_of(log)

    assert [frame["text"] for frame in frames if "append" in frame] == ["aba", "c", "d"]
    assert frames[-1]["id"] == log[-1]["id"]


def test_a_message_that_begins_in_a_known_run_costs_no_query(
    worker: Worker, thread: Thread, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    run = worker.begin()
    page = Page(thread.pk)
    worker.stream(run, "m", "a")
    streamed = [event for event in worker.log() if event["event"] in ("message_started", "token")]

    with django_assert_num_queries(0):
        assert not page.needs_rows(streamed)
        assert items(page.frames_of(streamed), "message-")


def test_a_run_begun_since_is_looked_up(worker: Worker, thread: Thread) -> None:
    page = Page(thread.pk)
    worker.stream(worker.begin(), "m", "a")
    streamed = [event for event in worker.log() if event["event"] in ("message_started", "token")]

    assert page.needs_rows(streamed)
    assert items(page.frames_of(streamed), "message-")


def test_progress_is_drawn_in_the_composer_and_takes_no_open_message_away(
    worker: Worker, thread: Thread
) -> None:
    run = worker.begin()
    page = Page(thread.pk)
    Run.objects.filter(pk=run.pk).update(progress={"done": 1, "total": 3, "steps": ["a"]})
    worker.announce("progress", run, done=1, total=3)

    frames = page.frames_of(worker.log()[-1:])

    assert [frame.get("morph") for frame in frames] == ["composer", None]
    assert "Working: 1 of 3 done…" in frames[0]["content"]
    assert not any("clear" in frame for frame in frames)
