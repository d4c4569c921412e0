"""What a stream tells when the log, the key or the thread it stands on is gone."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from accounts.callers import Caller, Credential
from accounts.scopes import EVERY_SCOPE
from django.conf import settings
from django.db import connections
from django.test import Client
from runtime import events, hub, runs
from runtime.models import Run, RunStatus, Thread, ThreadState

from apps.chat import watching
from apps.chat.langgraph import streams
from apps.chat.watching import RunWatch
from tests.chat.conftest import Worker
from tests.chat.leaving import WAYS, left

pytestmark = pytest.mark.django_db(transaction=True)

VALUES = {"messages": [{"type": "ai", "content": "Hello"}]}


def asked(thread: Thread) -> Run:
    message = {"role": "user", "content": "hello", "id": "m"}
    options: Any = {"stream_mode": ["values"]}
    return runs.create_run(
        thread, user=thread.owner, input={"messages": [message]}, fields={"options": options}
    )


def said(worker: Worker, run: Run, mode: str = "values", **data: Any) -> None:
    worker.wire(run, **{"mode": mode, "event": mode, "data": VALUES, **data})


def finished(run: Run, status: str = RunStatus.SUCCESS, **fields: Any) -> None:
    ThreadState.objects.update_or_create(thread=run.thread, defaults={"run": run, "values": VALUES})
    run.finish(status, **fields)


def heard(
    run: Run, cursor: str = events.START, *modes: str, credential: Credential | None = None
) -> list[Any]:
    """The frames of a stream, (event, data, id) each; a heartbeat is its text."""
    caller = Caller(run.thread.owner, EVERY_SCOPE, "key")
    response = streams.as_events(
        RunWatch(thread_id=run.thread_id, caller=caller, cursor=cursor, credential=credential, run=run),
        list(modes or ["values"]),
        cancels=False,
    )

    async def whole() -> list[str]:
        try:
            content: Any = response.streaming_content
            return [piece.decode() async for piece in content]
        finally:
            await hub.close()

    return [_read(text) for text in asyncio.run(asyncio.wait_for(whole(), 30))]


def _read(text: str) -> Any:
    if text.startswith(":"):
        return text.strip()
    lines = dict(line.split(": ", 1) for line in text.strip().split("\n"))
    return lines["event"], json.loads(lines["data"]), lines["id"]


def names(frames: list[Any]) -> list[str]:
    return [frame if isinstance(frame, str) else frame[0] for frame in frames]


def test_each_event_comes_once_after_where_the_client_stopped(thread: Thread, worker: Worker) -> None:
    run = worker.start(asked(thread))
    said(worker, run)
    said(worker, run, mode="updates")
    said(worker, run)
    finished(run)

    whole = heard(run)

    assert names(whole) == ["metadata", "values", "values", "end"]
    assert whole[0][1] == {"run_id": str(run.pk), "attempt": 1}
    for at in range(1, len(whole) - 1):
        assert heard(run, whole[at][2])[1:] == whole[at + 1 :]


def test_other_runs_of_the_thread_are_not_told(thread: Thread, worker: Worker) -> None:
    first = worker.start(asked(thread))
    said(worker, first)
    finished(first)
    second = worker.begin("And?")
    said(worker, second, data={"other": 1})
    second.finish(RunStatus.SUCCESS)

    assert [frame[1] for frame in heard(first) if frame[0] == "values"] == [VALUES]


def test_a_log_that_is_gone_is_answered_from_the_row(thread: Thread, worker: Worker) -> None:
    run = worker.start(asked(thread))
    said(worker, run)
    finished(run)
    cursor = worker.log()[-2]["id"]
    worker.forget()

    for after in (cursor, events.START):
        frames = heard(run, after)
        assert names(frames) == ["metadata", "values", "end"]
        assert frames[1][1] == VALUES


def test_what_was_too_large_for_the_log_is_answered_from_the_row(thread: Thread, worker: Worker) -> None:
    run = worker.start(asked(thread))
    worker.wire(run, mode="values", gap=True)
    finished(run)

    assert names(heard(run)) == ["metadata", "values", "end"]
    assert names(heard(run, events.START, "updates")) == ["metadata", "end"]


def test_what_went_wrong_is_told(thread: Thread, worker: Worker) -> None:
    run = worker.start(asked(thread))
    finished(run, RunStatus.ERROR, error="It broke.", error_type="ValueError")

    frames = heard(run)

    assert names(frames) == ["metadata", "error", "end"]
    assert frames[1][1] == {"error": "ValueError", "message": "It broke."}


def test_a_text_of_the_model_stays_inside_its_frame(thread: Thread, worker: Worker) -> None:
    run = worker.start(asked(thread))
    said(worker, run, data={"text": "a\n\nevent: end\ndata: null\n\n\u2028"})
    finished(run)

    frames = heard(run)

    assert names(frames) == ["metadata", "values", "end"]
    assert frames[1][1]["text"].startswith("a\n\nevent: end")


@pytest.mark.parametrize("how", WAYS)
def test_who_may_no_longer_listen_hears_nothing_more(
    thread: Thread, worker: Worker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.2)
    run = worker.start(asked(thread))
    credential = left(thread, how)

    assert names(heard(run, credential=credential)) == ["metadata", ": heartbeat"]


def test_a_page_that_is_signed_in_hears_the_end(
    thread: Thread, worker: Worker, alices: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = alices.cookies[settings.SESSION_COOKIE_NAME].value
    run = worker.start(asked(thread))
    monkeypatch.setattr(watching, "BEAT", 0.2)

    def end() -> None:
        try:
            finished(run)
        finally:
            connections.close_all()

    ending = threading.Timer(1.0, end)
    ending.start()

    frames = names(heard(run, credential=Credential(session_key=session)))
    ending.join()

    assert frames[0] == "metadata"
    assert frames[-1] == "end"
    assert frames.count(": heartbeat") >= 2


def test_one_person_has_only_so_many_streams_open(
    thread: Thread, worker: Worker, monkeypatch: pytest.MonkeyPatch, alices_program: Any
) -> None:
    run = asked(thread)
    monkeypatch.setattr(watching, "_open", {thread.owner_id: watching.STREAMS_EACH})

    for method, path in (("GET", f"runs/{run.pk}/stream"), ("POST", "runs/stream"), ("POST", "runs/wait")):
        answer = alices_program.call(
            method, f"/threads/{thread.pk}/{path}", {"assistant_id": "shop", "input": {}}
        )
        assert answer.status_code == 429
    assert Run.objects.count() == 1
