"""History, page by page, and beginning anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from runtime.models import AuditEvent, Message, RunStatus, Thread

from tests.chat.api.conftest import Program
from tests.chat.conftest import Worker

pytestmark = pytest.mark.django_db


def pages(program: Program, thread: Thread, limit: int) -> list[list[str]]:
    found, before = [], ""
    while before is not None:
        page: Any = program.get(f"/history/{thread.pk}?limit={limit}&before={before}").json()
        found.append([message["text"] for message in page["messages"]])
        before = page["before"]
    return found


def test_the_history_comes_in_pages_newest_first(alices_program: Program, worker: Worker) -> None:
    run = worker.begin("0")
    for at in range(1, 5):
        worker.say(run, f"m{at}", str(at), is_partial=at == 4)

    assert pages(alices_program, worker.thread, 2) == [["3", "4"], ["1", "2"], ["0"]]
    assert pages(alices_program, worker.thread, 5) == [["0", "1", "2", "3", "4"]]
    last = alices_program.get(f"/history/{worker.thread.pk}").json()["messages"][-1]
    row = Message.objects.get(content="4")
    assert (last["role"], last["is_partial"], last["message_id"]) == ("ai", True, row.key)


def test_messages_of_one_instant_are_neither_left_out_nor_told_twice(
    alices_program: Program, worker: Worker
) -> None:
    run = worker.begin("0")
    for at in range(1, 6):
        worker.say(run, f"m{at}", str(at))
    Message.objects.update(created_at=datetime(2026, 1, 1, tzinfo=UTC))

    told = [text for page in reversed(pages(alices_program, worker.thread, 2)) for text in page]

    assert told == ["0", "1", "2", "3", "4", "5"]


def test_a_page_stands_where_it_stood_though_its_message_went(
    alices_program: Program, worker: Worker
) -> None:
    run = worker.begin("0")
    for at in range(1, 4):
        worker.say(run, f"m{at}", str(at))
    first = alices_program.get(f"/history/{worker.thread.pk}?limit=2").json()
    Message.objects.get(content="2").delete()

    path = f"/history/{worker.thread.pk}?before={first['before']}"
    assert [each["text"] for each in alices_program.get(path).json()["messages"]] == ["0", "1"]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=a", "before=x", "before=1", "before=9e9-1"])
def test_a_page_that_is_none_is_refused(alices_program: Program, thread: Thread, query: str) -> None:
    answer = alices_program.get(f"/history/{thread.pk}?{query}")

    assert (answer.status_code, isinstance(answer.json()["detail"], str)) == (422, True)


def test_numbers_beyond_reason_are_refused(alices_program: Program, thread: Thread) -> None:
    for before in ("9" * 30 + "-1", "1-" + "9" * 30, "-1--1"):
        assert alices_program.get(f"/history/{thread.pk}?before={before}").status_code == 422


def test_reset_gives_an_empty_session_and_keeps_the_record(alices_program: Program, worker: Worker) -> None:
    run = worker.begin("Hello")
    run.finish(RunStatus.SUCCESS)
    old = worker.thread

    answer = alices_program.post("/reset", {"session_id": str(old.pk)})

    fresh = Thread.objects.get(pk=answer.json()["session_id"])
    assert (answer.status_code, fresh.owner, fresh.assistant) == (200, old.owner, old.assistant)
    assert alices_program.get(f"/history/{fresh.pk}").json()["messages"] == []
    assert alices_program.get(f"/history/{old.pk}").status_code == 404
    assert Message.objects.filter(thread=old).count() == 1
    assert AuditEvent.objects.filter(body__contains="thread.deleted").count() == 1
    assert alices_program.post("/reset", {"session_id": str(old.pk)}).status_code == 404


@pytest.mark.parametrize("state", ["at work", "waiting"])
def test_what_is_under_way_is_not_reset_away(alices_program: Program, worker: Worker, state: str) -> None:
    run = worker.begin("Hello")
    if state == "waiting":
        worker.call(run)
        run.finish(RunStatus.WAITING)

    answer = alices_program.post("/reset", {"session_id": str(worker.thread.pk)})

    assert answer.status_code == 409
    assert Thread.objects.get().deleted_at is None
