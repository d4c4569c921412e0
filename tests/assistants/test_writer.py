"""The writer, by the API's tasks and on the chat's page."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from assistants.words import cut, words_of
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings
from runtime import events
from runtime.engine import Engine
from runtime.models import Assistant, Run, RunStatus, Thread, ToolCall
from runtime.redis_client import redis_client
from runtime.schemas import Event

from tests.support.asking import perform
from tests.support.demo import DemoModel
from tests.support.engines import EngineOn
from tests.support.nursery import Process
from tests.support.processes import PATIENCE, until
from tests.support.programs import Program, key_of

pytestmark = pytest.mark.django_db(transaction=True)

TASK = {"topic": "The history of tea", "config": {"target_audience": "children", "target_length": 400}}


@pytest.fixture(autouse=True)
def writer(assistant_of: Callable[[str], Assistant], assistant: Assistant) -> Assistant:
    """Beside the shop's, which is the first by name."""
    return assistant_of("writer")


def begin(program: Program, **changes: Any) -> tuple[str, Thread]:
    answer = program.post("/tasks", {**TASK, **changes})
    assert answer.status_code == 202, answer.content
    task = answer.json()
    return task["task_id"], Thread.objects.get(pk=task["session_id"])


def asked(program: Program, engine: Engine, **changes: Any) -> tuple[str, Thread]:
    task, thread = begin(program, **changes)
    assert perform(engine, thread).status == RunStatus.WAITING, Run.objects.get(pk=task).error
    return task, thread


def resume(program: Program, task: str, answer: Any) -> Any:
    return program.post(f"/tasks/{task}/resume", {"type": "respond", "answer": answer})


def at(program: Program, task: str) -> Any:
    return program.get(f"/tasks/{task}").json()


def page_of(browser: Client, thread: Thread) -> str:
    return html.unescape(browser.get(reverse("chat-thread", args=[thread.pk])).content.decode())


def log_of(thread: Thread) -> list[Event]:
    entries: Any = redis_client().xrange(events.log_key(thread.pk))
    return [events.parse(id.decode(), fields[b"e"].decode()) for id, fields in entries]


def writes_of(thread: Thread) -> int:
    """Of steps whose neighbours are still at work: what a successor need not do again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM checkpoint_writes WHERE thread_id = %s AND channel = 'sections'",
            [str(thread.pk)],
        )
        return int(cursor.fetchone()[0])


def headings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def body_words(text: str) -> int:
    return len(words_of("\n".join(line for line in text.splitlines() if not line.startswith("#"))))


def test_tasks_are_its_own_where_it_is_there(
    alices_program: Program, writer: Assistant, settings: Settings
) -> None:
    first, _thread = begin(alices_program)
    Assistant.objects.filter(pk=writer.pk).update(is_active=False)
    second, _thread = begin(alices_program)
    settings.TASK_ASSISTANT = "nobody"
    third = alices_program.post("/tasks", TASK)

    graphs = [Run.objects.get(pk=pk).assistant.graph_id for pk in (first, second)]
    assert graphs == ["writer", "shop"]
    assert third.status_code == 422


def test_it_asks_for_the_outline_and_writes_by_it(alices_program: Program, engine: Engine) -> None:
    task, thread = asked(alices_program, engine)
    waiting = at(alices_program, task)
    question = waiting["interrupts"][0]
    assert (waiting["status"], question["kind"]) == ("waiting", "question")
    assert question["args"]["title"] == "The history of tea"
    assert question["args"]["sections"] == ["Where it began", "How it works"]
    assert (waiting["progress"]["steps"], waiting["progress"]["fraction"]) == (None, None)

    assert resume(alices_program, task, {"go_on": True}).status_code == 202
    perform(engine, thread)

    done = at(alices_program, task)
    assert (done["status"], done["error"]) == ("success", None)
    assert headings(done["result"]) == ["# The history of tea", "## Where it began", "## How it works"]
    assert 200 < body_words(done["result"]) <= 400
    progress = done["progress"]
    assert (progress["steps"], progress["steps_done"], progress["fraction"]) == (2, 2, 1.0)
    assert done["usage"]["output_tokens"] > 300


def test_what_the_person_changes_is_what_is_written(alices_program: Program, engine: Engine) -> None:
    task, thread = asked(alices_program, engine)

    resume(alices_program, task, {"go_on": True, "title": "Tea", "sections": "Leaves\n\n Water \nTime"})
    perform(engine, thread)

    done = at(alices_program, task)
    assert headings(done["result"]) == ["# Tea", "## Leaves", "## Water", "## Time"]
    assert done["progress"]["steps"] == 3


@pytest.mark.parametrize("answer", [False, {"go_on": False}])
def test_no_writes_nothing(alices_program: Program, engine: Engine, answer: Any) -> None:
    task, thread = asked(alices_program, engine)

    resume(alices_program, task, answer)
    perform(engine, thread)

    done = at(alices_program, task)
    assert (done["status"], done["result"]) == ("success", "Nothing was written.")


@pytest.mark.parametrize(
    "answer",
    [
        "yes",
        {},
        {"go_on": "yes"},
        {"go_on": True, "sections": "x\n" * 12 + "x"},
        {"go_on": True, "title": "a\nb"},
        {"go_on": True, "length": 3},
    ],
)
def test_an_answer_of_another_kind_is_refused(alices_program: Program, engine: Engine, answer: Any) -> None:
    task, thread = asked(alices_program, engine)

    assert resume(alices_program, task, answer).status_code == 422
    assert thread.tool_calls.get().state == "waiting"


def test_a_task_that_is_cancelled_while_it_asks_ends(alices_program: Program, engine: Engine) -> None:
    task, thread = asked(alices_program, engine)

    assert alices_program.post(f"/tasks/{task}/cancel").status_code == 202
    perform(engine, thread)

    assert at(alices_program, task)["result"] == "Nothing was written."


def test_a_stranger_neither_reads_nor_answers(alices_program: Program, engine: Engine, carol: User) -> None:
    task, thread = asked(alices_program, engine)

    assert Program(key_of(carol)).get(f"/tasks/{task}").status_code == 404
    assert resume(Program(key_of(carol)), task, {"go_on": True}).status_code == 404
    assert thread.tool_calls.get().state == "waiting"


def test_auto_asks_nobody(alices_program: Program, engine: Engine) -> None:
    task, thread = begin(alices_program, mode="auto", topic="茶的历史", config={"target_length": 300})
    perform(engine, thread)

    done = at(alices_program, task)
    assert (done["status"], ToolCall.objects.count()) == ("success", 0)
    assert headings(done["result"]) == ["# 茶的历史", "## 起源", "## 如何运作"]
    assert 100 < body_words(done["result"]) <= 300


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"mode": "slow"}, "mode"), ({"config": {"target_length": 10}}, "target_length")],
)
def test_an_order_that_can_t_be_filled_says_why(
    alices_program: Program, engine: Engine, changes: Any, field: str
) -> None:
    task, thread = begin(alices_program, **changes)
    perform(engine, thread)

    found = at(alices_program, task)
    assert (found["status"], found["usage"]["input_tokens"]) == ("error", 0)
    assert field in found["error"]["message"]


def test_an_outline_in_another_form_is_replaced(alices_program: Program, engine_on: EngineOn) -> None:
    with engine_on("demo-model+tokens=200") as engine:
        task, thread = asked(alices_program, engine)
        resume(alices_program, task, True)
        perform(engine, thread)

    done = at(alices_program, task)
    assert headings(done["result"]) == ["# The history of tea", "## Beginning", "## Middle"]


def test_progress_is_what_is_done(
    alices_program: Program,
    engine_on: EngineOn,
    alice: User,
    signed_in: Callable[[User], Client],
    settings: Settings,
) -> None:
    """The model takes four seconds for the outline and for one section, and none for the others."""
    config = {"target_length": 750}
    settings.OPENAI_API_KEY = "counted for this test alone"
    with engine_on("demo-model+waitx2=4") as engine:
        task, thread = begin(alices_program, mode="auto", config=config)
        ended = engine.start(task)
        until(lambda: at(alices_program, task)["progress"]["steps_done"] == 2)
        between = at(alices_program, task)
        page = page_of(signed_in(alice), thread)
        assert ended.result(60) == RunStatus.SUCCESS

    assert (between["status"], between["progress"]["steps"]) == ("running", 3)
    assert between["progress"]["fraction"] == 0.67
    assert "Working: 2 of 3 done…" in page
    told = [event["event"] for event in log_of(thread)]
    assert told.count("progress") == 4


def test_sections_are_written_at_once(alices_program: Program, engine_on: EngineOn) -> None:
    with engine_on("demo-model+wait=1") as engine:
        task, thread = begin(alices_program, mode="auto", config={"target_length": 1500})
        perform(engine, thread)

    run = Run.objects.get(pk=task)
    assert run.progress is not None
    assert run.progress["total"] == 6
    assert run.ended_at is not None
    assert run.started_at is not None
    assert (run.ended_at - run.started_at).total_seconds() < 4.5, (
        "an outline and six sections take 7 s in a row"
    )


def test_a_worker_that_is_killed_leaves_the_rest_to_another(
    alices_program: Program, demo_model: DemoModel, engine_on: EngineOn
) -> None:
    """The first writes one section and hangs on the other; the second writes only what is missing."""
    with engine_on() as engine:
        task, thread = asked(alices_program, engine)
    resume(alices_program, task, {"go_on": True})
    env = {
        "OPENAI_BASE_URL": demo_model.base_url,
        "OPENAI_API_KEY": task,  # the endpoint counts for each key how often it still hangs
        "COUNTERSIGN_RUN_LEASE": "2",
        "COUNTERSIGN_RUN_HEARTBEAT": "0.5",
    }
    with Process("worker", OPENAI_MODEL="demo-model+hangx1", **env) as first:
        until(lambda: at(alices_program, task)["progress"]["steps_done"] == 1, seconds=PATIENCE)
        until(lambda: writes_of(thread) >= 1)
        first.kill()
    with Process("worker", OPENAI_MODEL="demo-model+tokens=40", **env):
        until(lambda: at(alices_program, task)["status"] not in ("pending", "running"), seconds=PATIENCE)

    done = at(alices_program, task)
    assert (done["status"], done["progress"]["steps_done"]) == ("success", 2), done
    sections = done["result"].split("## ")[1:]
    assert sorted("token token" in each for each in sections) == [False, True]


def test_the_page_draws_the_outline_as_a_form(
    thread_with: Callable[[str], Thread],
    engine: Engine,
    alice: User,
    carol: User,
    turn: Callable[..., Run],
    signed_in: Callable[[User], Client],
) -> None:
    thread = thread_with("writer")
    assert turn(thread, "The history of tea").status == RunStatus.WAITING
    call = thread.tool_calls.get()
    page = page_of(signed_in(alice), thread)
    assert all(
        label in page
        for label in ("Shall I write it like this?", "Where it began", "Other sections, one a line")
    )

    assert '<option value="true" selected>' in page  # sent as it stands, it is a yes

    client, stranger = signed_in(alice), signed_in(carol)
    path = reverse("chat-answer", args=[thread.pk, call.pk])
    filled = {"decision": "respond", "digest": call.args_digest, "arg-go_on": "true", "arg-title": ""}
    assert stranger.post(path, {**filled, "arg-sections": "Leaves"}).status_code == 404
    assert client.post(path, {**filled, "arg-sections": "Leaves\r\nWater"}).status_code == 302
    perform(engine, thread)

    call.refresh_from_db()
    assert (call.decision, call.decided_by) == ("respond", alice)
    text = thread.messages.filter(role="ai").last().content  # type: ignore[union-attr]
    assert headings(text) == ["# The history of tea", "## Leaves", "## Water"]


def test_a_cut_ends_with_a_sentence() -> None:
    assert cut("One two. Three four!\n\nFive six seven.", 5) == "One two. Three four!"
    assert cut("One two three four five six", 2) == "One two three four five six"
    assert cut("", 5) == ""
