"""What is still open when a page is drawn in the middle of a turn."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError
from runtime import events
from runtime.models import Thread, message_key
from runtime.schemas import Event, EventName

from apps.chat import tail
from apps.chat.tail import fold, read_tail
from tests.chat.conftest import Worker


def event(name: EventName, run: str = "r", **data: Any) -> Event:
    return Event(id="1-1", event=name, run_id=run, data=data)


def texts(*log: Event) -> dict[str, str]:
    return {message.key: message.text for message in fold(log)}


def test_tokens_add_up() -> None:
    log = (
        event("message_started", key="m"),
        event("token", key="m", text="a"),
        event("token", key="m", text="b"),
    )
    assert texts(*log) == {"m": "ab"}


def test_a_snapshot_replaces_what_was_there() -> None:
    assert texts(event("snapshot", key="m", text="all"), event("token", key="m", text="!")) == {"m": "all!"}


def test_a_finished_message_is_not_open() -> None:
    assert texts(event("message_started", key="m"), event("message", key="m", pk=1)) == {}


def test_a_token_without_a_beginning_is_left_out() -> None:
    assert texts(event("token", key="m", text="half")) == {}


def test_an_attempt_that_begins_clears_what_the_dead_one_left() -> None:
    started = event("message_started", key="m"), event("token", key="m", text="a")
    assert texts(*started, event("run", status="running", attempt=2)) == {}


def test_another_run_of_the_thread_clears_nothing() -> None:
    started = event("message_started", key="m"), event("token", key="m", text="a")
    assert texts(*started, event("run", run="other", status="pending")) == {"m": "a"}


def test_it_reads_back_to_where_the_run_began(
    worker: Worker, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "CHUNK", 3)
    run = worker.begin()
    worker.stream(run, "m", *"abcdefgh")

    found = read_tail(thread.pk)

    assert [(message.key, message.text) for message in found.open] == [(message_key("m"), "abcdefgh")]
    assert found.cursor.endswith("-10")


def test_a_thread_without_a_log_begins_at_the_start(thread: Thread) -> None:
    assert read_tail(thread.pk).cursor == events.START


def test_redis_away_is_a_page_without_the_open_message(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(tail, "_entries", fail)
    assert read_tail(thread.pk) == tail.Tail(events.START)
