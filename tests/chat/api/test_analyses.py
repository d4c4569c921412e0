"""Analyses: of one text while somebody waits, and of many on a queue of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.engine import Engine
from runtime.models import Assistant, Run, RunQueue, RunStatus, Thread, assistant_id_for
from runtime.redis_client import redis_client

from tests.chat.api.conftest import Program
from tests.support.demo import DemoModel
from tests.support.engines import EngineOn
from tests.support.nursery import Process
from tests.support.processes import PATIENCE, until

pytestmark = pytest.mark.django_db(transaction=True)

GOOD = "Ada was delighted in London. The machine was fast and friendly."
BAD = "The parcel was late and the box was broken. I am angry."
KEY = {"Idempotency-Key": "one"}


@pytest.fixture(autouse=True)
def analyser(transactional_db: None) -> Assistant:
    return Assistant.objects.create(pk=assistant_id_for("analyser"), graph_id="analyser", name="Analyser")


def begin(program: Program, *texts: str, **headers: str) -> Any:
    answer = program.post("/analyze/batch", {"items": [{"text": text} for text in texts]}, **headers)
    assert answer.status_code == 202, answer.content
    return answer.json()


def at(program: Program, batch: Any) -> Any:
    return program.get(f"/analyze/batch/{batch['batch_id']}").json()


def perform_all(engine: Engine) -> None:
    for run in Run.objects.filter(status=RunStatus.PENDING).order_by("created_at"):
        engine.perform(str(run.pk))


# One text


def test_the_analysis_comes_with_the_answer(alices_program: Program, engine: Engine) -> None:
    def perform() -> None:
        until(Run.objects.exists)
        perform_all(engine)

    worker = threading.Thread(target=perform)
    worker.start()
    answer = alices_program.post("/analyze", {"text": GOOD})
    worker.join(60)

    found = answer.json()
    assert (answer.status_code, found["status"]) == (200, "success"), found
    assert found["result"]["sentiment"]["sentiment"] == "positive"
    assert found["report"].startswith("### In short")
    assert found["usage"]["input_tokens"] > 0


def test_one_that_takes_longer_is_found_again(alices_program: Program, engine: Engine) -> None:
    answer = alices_program.post("/analyze", {"text": GOOD, "timeout": 0})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    perform_all(engine)

    found = alices_program.get(answer["Location"].removeprefix("/api/v1")).json()

    assert found["analysis_id"] == answer.json()["analysis_id"]
    assert found["result"]["metrics"]["words"] == 11


def test_what_is_no_text_is_no_error(alices_program: Program, engine: Engine) -> None:
    answer = alices_program.post("/analyze", {"text": "  ", "timeout": 0}).json()
    perform_all(engine)

    found = alices_program.get(f"/analyze/{answer['analysis_id']}").json()

    assert (found["status"], found["error"]) == ("success", None)
    assert (found["result"]["is_valid"], found["result"]["problems"]) == (False, ["empty"])


def test_one_that_failed_is_tried_again_as_a_task(alices_program: Program, engine_on: EngineOn) -> None:
    failed = alices_program.post("/analyze", {"text": GOOD, "timeout": 0}).json()["analysis_id"]
    with engine_on("demo-model+401") as engine:
        perform_all(engine)
    found = alices_program.get(f"/analyze/{failed}").json()
    assert (found["status"], found["result"]) == ("error", None)
    assert "OPENAI_API_KEY" in found["error"]["message"]

    again = alices_program.post(f"/tasks/{failed}/resume", {}).json()["task_id"]
    with engine_on() as engine:
        perform_all(engine)

    assert alices_program.get(f"/analyze/{again}").json()["result"]["is_valid"]


def test_the_same_request_is_one_analysis(alices_program: Program) -> None:
    body = {"text": GOOD, "timeout": 0}

    ids = {alices_program.post("/analyze", body, **KEY).json()["analysis_id"] for _ in range(2)}

    assert len(ids) == Run.objects.count() == 1
    assert alices_program.post("/analyze", {**body, "text": BAD}, **KEY).status_code == 422


def test_without_an_analyser_nothing_begins(alices_program: Program, analyser: Assistant) -> None:
    analyser.delete()

    for path, body in (("/analyze", {"text": GOOD}), ("/analyze/batch", {"items": [{"text": GOOD}]})):
        answer = alices_program.post(path, body)
        assert answer.status_code == 409
        assert "administrator" in answer.json()["detail"]
    assert not Thread.objects.exists()


# Many


def test_each_item_has_its_result_and_all_of_them_their_sums(alices_program: Program, engine: Engine) -> None:
    batch = begin(alices_program, GOOD, BAD, "Only two")
    assert (batch["status"], batch["fraction"], batch["totals"]["pending"]) == ("pending", 0.0, 3)

    perform_all(engine)

    found = at(alices_program, batch)
    assert (found["status"], found["fraction"]) == ("done", 1.0)
    assert [item["position"] for item in found["items"]] == [0, 1, 2]
    assert [item["result"]["is_valid"] for item in found["items"]] == [True, True, False]
    totals = found["totals"]
    assert (totals["succeeded"], totals["valid"], totals["failed"], totals["words"]) == (3, 2, 0, 23)
    assert totals["sentiments"] == {"positive": 1, "negative": 1}
    assert found["averages"]["words"] == 11.5
    assert found["averages"]["seconds"] > 0
    assert totals["input_tokens"] > 0


def test_the_item_that_fails_fails_alone(
    alices_program: Program, engine_on: EngineOn, settings: Settings
) -> None:
    batch = begin(alices_program, GOOD, BAD, GOOD)
    pending = [str(pk) for pk in Run.objects.order_by("created_at").values_list("pk", flat=True)]
    with engine_on() as engine:
        engine.perform(pending[0])
    with engine_on("demo-model+401") as engine:
        engine.perform(pending[1])
    assert at(alices_program, batch)["fraction"] == 0.67
    assert at(alices_program, batch)["status"] == "running"
    with engine_on() as engine:
        engine.perform(pending[2])

    found = at(alices_program, batch)

    assert [item["status"] for item in found["items"]] == ["success", "error", "success"]
    assert "OPENAI_API_KEY" in found["items"][1]["error"]["message"]
    assert (found["items"][1]["result"], found["items"][0]["error"]) == (None, None)
    assert (found["status"], found["totals"]["failed"], found["totals"]["valid"]) == ("done", 1, 2)


def test_the_same_batch_sent_again_is_one(alices_program: Program) -> None:
    ids = {begin(alices_program, GOOD, BAD, **KEY)["batch_id"] for _ in range(2)}

    assert len(ids) == 1
    assert Run.objects.count() == 2


def test_it_is_in_nobodys_list_of_threads_and_on_its_own_queue(alices_program: Program, alice: User) -> None:
    begin(alices_program, GOOD, BAD)

    assert not Thread.objects.of(alice).exists()
    assert set(Run.objects.values_list("queue", flat=True)) == {RunQueue.BATCH}
    assert len(runs.queue(runs.BATCH).job_ids) == 2
    assert runs.queue().job_ids == []


def test_a_lost_queue_is_filled_again_with_the_right_one(alices_program: Program) -> None:
    begin(alices_program, GOOD)
    redis_client().flushdb()
    Run.objects.update(created_at="2020-01-01T00:00Z")

    assert runs.reconcile().enqueued == 1
    assert (len(runs.queue(runs.BATCH).job_ids), len(runs.queue().job_ids)) == (1, 0)
    assert runs.reconcile().enqueued == 0


def test_a_person_may_still_chat_and_has_only_so_many_items(
    alices_program: Program, settings: Settings, alice: User, analyser: Assistant
) -> None:
    settings.USER_BATCH_LIMIT, settings.USER_RUN_LIMIT, settings.QUEUE_LIMIT = 3, 1, 3
    begin(alices_program, GOOD, GOOD)

    more = alices_program.post("/analyze/batch", {"items": [{"text": GOOD}] * 2})
    assert (more.status_code, more["Retry-After"]) == (429, "30")
    assert Run.objects.count() == 2, "either all items begin, or none"
    assert alices_program.post("/chat", {"message": "hello", "timeout": 0}).status_code == 202
    settings.USER_BATCH_LIMIT = 100
    full = alices_program.post("/analyze/batch", {"items": [{"text": GOOD}] * 2})
    assert full.status_code == 503


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([], "items"),
        ([{"text": GOOD}] * 51, "items"),
        ([{"text": "a " * 15_000}] * 14, "400000"),
        ([{"text": "a" * 32_001}], "32000"),
        ([{"words": GOOD}], "items.0"),
        (["text"], "items.0"),
    ],
)
def test_a_batch_has_bounds(alices_program: Program, items: list[Any], field: str) -> None:
    answer = alices_program.post("/analyze/batch", {"items": items})

    assert (answer.status_code, field in answer.json()["detail"]) == (422, True), answer.content
    assert not Run.objects.exists()


def test_another_person_finds_and_stops_nothing(
    alices_program: Program, carol: User, program: Callable[..., Program]
) -> None:
    batch = begin(alices_program, GOOD)
    path = f"/analyze/batch/{batch['batch_id']}"

    assert program(carol).get(path).status_code == 404
    assert program(carol).post(f"{path}/cancel").status_code == 404
    assert program(carol).get(f"/analyze/{batch['items'][0]['analysis_id']}").status_code == 404
    assert Run.objects.get().status == RunStatus.PENDING


# Workers of its own


def test_a_batch_is_stopped_in_the_middle(alices_program: Program, demo_model: DemoModel) -> None:
    """The worker performs one after the other; the model hangs on the second."""
    batch = begin(alices_program, GOOD, GOOD, GOOD)
    first = Run.objects.order_by("created_at").first()
    assert first is not None
    env = {"OPENAI_BASE_URL": demo_model.base_url, "OPENAI_MODEL": "demo-model+delay=0.2"}
    with Process("worker", "--queue", "batch", "--concurrency", "1", **env):
        until(lambda: not Run.objects.get(pk=first.pk).is_active, seconds=PATIENCE)
        until(lambda: Run.objects.filter(status=RunStatus.RUNNING).exists())
        answer = alices_program.post(f"/analyze/batch/{batch['batch_id']}/cancel")
        until(lambda: at(alices_program, batch)["fraction"] == 1.0)

    assert answer.status_code == 202
    found = at(alices_program, batch)
    assert [item["status"] for item in found["items"]] == ["success", "cancelled", "cancelled"]
    assert found["status"] == "cancelled"
    assert found["items"][0]["result"]["is_valid"]
    assert alices_program.post(f"/analyze/batch/{batch['batch_id']}/cancel").status_code == 409


def test_a_worker_that_is_killed_leaves_the_rest_to_another(
    alices_program: Program, demo_model: DemoModel
) -> None:
    batch = begin(alices_program, GOOD, BAD, GOOD, BAD)
    env = {
        "OPENAI_BASE_URL": demo_model.base_url,
        "COUNTERSIGN_RUN_LEASE": "2",
        "COUNTERSIGN_RUN_HEARTBEAT": "0.5",
    }
    work = ("worker", "--queue", "batch", "--concurrency", "2")
    with Process(*work, OPENAI_MODEL="demo-model+delay=0.05", **env) as first:
        until(lambda: Run.objects.filter(status=RunStatus.RUNNING).count() == 2, seconds=PATIENCE)
        first.kill()
    with Process(*work, OPENAI_MODEL="demo-model", **env):
        until(lambda: at(alices_program, batch)["fraction"] == 1.0, seconds=PATIENCE)

    found = at(alices_program, batch)
    assert [item["status"] for item in found["items"]] == ["success"] * 4, found
    assert found["totals"]["valid"] == 4
    assert Run.objects.filter(attempt__gt=1).count() == 2
