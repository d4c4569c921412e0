"""The text analyser, step by step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, cast

import hypothesis
import pytest
from assistants.analyser import background, graph, metrics, readings
from django.db import connection
from hypothesis import strategies as st
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.engine import Engine
from runtime.models import Run, RunStatus, Thread
from runtime.schemas import RunFields

from tests.assistants.conftest import PROGRAMS, state_after
from tests.support.demo import DemoModel
from tests.support.engines import EngineOn
from tests.support.nursery import Process
from tests.support.processes import PATIENCE, until
from tests.support.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = (
    "Yesterday Ada Lovelace visited the Analytical Engine in London. She was delighted: the machine was fast and "
    "friendly. The engine weaves algebraic patterns.\n\nA journal called Taylor will print her notes."
)
READINGS = ("topic", "sentiment", "entities", "summary")


def analysed(engine: Engine, thread: Thread, text: str) -> tuple[Run, Any]:
    run = runs.send_message(thread, thread.owner, text, fields=cast(RunFields, PROGRAMS))
    engine.perform(str(run.pk))
    run.refresh_from_db()
    return run, state_after(run)["analysis"] if run.status == RunStatus.SUCCESS else None


@pytest.fixture
def thread(thread_with: Callable[[str], Thread]) -> Thread:
    return thread_with("analyser")


def test_it_reads_counts_and_reports(engine: Engine, thread: Thread) -> None:
    run, analysis = analysed(engine, thread, TEXT)

    assert run.status == RunStatus.SUCCESS, run.error
    assert (analysis["is_valid"], analysis["problems"], analysis["fallbacks"]) == (True, [], {})
    assert analysis["sentiment"] == {"sentiment": "positive", "confidence": 0.9}
    assert "Ada Lovelace" in [each["name"] for each in analysis["entities"]]
    assert analysis["summary"].startswith("Yesterday Ada Lovelace visited")
    metrics = analysis["metrics"]
    assert (metrics["sentences"], metrics["paragraphs"], metrics["words"]) == (4, 2, 31)
    assert 0 < metrics["reading_ease"] < 100
    assert analysis["background"] == {"facts": [], "note": "not_set"}


def test_every_step_says_what_it_took(engine: Engine, thread: Thread) -> None:
    _run, analysis = analysed(engine, thread, TEXT)

    assert set(analysis["steps"]) == {"validate", *READINGS, "measure", "enrich", "finalise"}
    for step in analysis["steps"].values():
        assert 0 <= step["seconds"] <= analysis["seconds"]
        assert step["memory_kb"] >= 0


def test_the_report_is_one_message_and_the_tokens_of_all_four_count(engine: Engine, thread: Thread) -> None:
    run, _analysis = analysed(engine, thread, TEXT)

    said = list(run.messages.filter(role="ai").values_list("content", flat=True))
    assert len(said) == 1
    assert said[0].startswith("### In short\n\nYesterday Ada Lovelace")
    assert "| Words | 31 |" in said[0]
    assert run.input_tokens > 4 * 40
    assert run.output_tokens > 20


def test_a_chinese_text_is_reported_in_chinese(engine: Engine, thread: Thread) -> None:
    run, analysis = analysed(engine, thread, "今天我去了北京大学，非常喜欢那里的图书馆。老师们都很好。")

    assert analysis["sentiment"]["sentiment"] == "positive"
    assert analysis["metrics"]["reading_ease"] is None
    assert "### 简而言之" in run.messages.get(role="ai").content


@pytest.mark.parametrize(
    ("text", "problem"), [("  \n ", "empty"), ("12 34 56 !!", "no_words"), ("Only two", "too_short")]
)
def test_what_is_no_text_goes_the_short_way(engine: Engine, thread: Thread, text: str, problem: str) -> None:
    run, analysis = analysed(engine, thread, text)

    assert run.status == RunStatus.SUCCESS
    assert (analysis["is_valid"], analysis["problems"]) == (False, [problem])
    assert set(analysis["steps"]) == {"validate", "finalise"}
    assert (run.input_tokens, run.output_tokens) == (0, 0), "the model was asked"
    assert "three words" in run.messages.get(role="ai").content or problem == "empty"


def test_the_next_text_leaves_nothing_of_the_one_before(engine: Engine, thread: Thread) -> None:
    analysed(engine, thread, TEXT)
    _run, short = analysed(engine, thread, "Only two")

    assert (short["topic"], short["entities"], short["summary"], short["metrics"]) == (None, [], "", None)
    assert set(short["steps"]) == {"validate", "finalise"}


def test_the_four_are_asked_at_once(engine_on: EngineOn, thread: Thread) -> None:
    """One call of this model takes a second before its first token, so that four in a row would take four."""
    with engine_on("demo-model+wait=1") as engine:
        began = time.monotonic()
        run, analysis = analysed(engine, thread, TEXT)
        took = time.monotonic() - began

    assert run.status == RunStatus.SUCCESS, run.error
    slowest = max(analysis["steps"][name]["seconds"] for name in READINGS)
    assert min(analysis["steps"][name]["seconds"] for name in READINGS) >= 1
    assert took < 2.5, f"{took:.2f} s, the slowest call {slowest:.2f} s"


def test_nonsense_of_the_model_is_replaced_and_told(engine_on: EngineOn, thread: Thread) -> None:
    with engine_on("demo-model+tokens=30") as engine:
        run, analysis = analysed(engine, thread, TEXT)

    assert run.status == RunStatus.SUCCESS, run.error
    assert analysis["fallbacks"] == dict.fromkeys(READINGS, "other")
    assert analysis["sentiment"] == {"sentiment": "neutral", "confidence": 0}
    assert analysis["summary"].startswith("Yesterday Ada Lovelace")
    assert "the model wrote something else" in run.messages.get(role="ai").content


def test_a_step_that_takes_too_long_is_replaced_and_told(
    engine_on: EngineOn, thread: Thread, settings: Settings
) -> None:
    settings.OPENAI_API_KEY = "counted for this test alone"
    settings.ANALYSIS_STEP_LIMIT = 1.0
    with engine_on("demo-model+hangx1") as engine:
        run, analysis = analysed(engine, thread, TEXT)

    assert run.status == RunStatus.SUCCESS, run.error
    assert list(analysis["fallbacks"].values()) == ["late"]
    late = next(iter(analysis["fallbacks"]))
    assert analysis["steps"][late]["seconds"] == 1.0
    assert analysis["metrics"]["words"] == 31


def test_a_model_that_never_answers_is_no_analysis(
    engine_on: EngineOn, thread: Thread, settings: Settings
) -> None:
    settings.ANALYSIS_STEP_LIMIT = 0.5
    with engine_on("demo-model+hang") as engine:
        run, _analysis = analysed(engine, thread, TEXT)

    assert run.status == RunStatus.ERROR
    assert "did not answer in time" in run.error


def test_a_model_that_can_t_be_asked_is_no_analysis(engine_on: EngineOn, thread: Thread) -> None:
    with engine_on("demo-model+401") as engine:
        run, _analysis = analysed(engine, thread, TEXT)

    assert run.status == RunStatus.ERROR
    assert "OPENAI_API_KEY" in run.error


FACTS = '{"facts": [{"entity": "Ada Lovelace", "text": "Wrote *notes*."}, {"entity": "Nobody", "text": "Not asked."}]}'


def test_a_service_tells_of_what_is_named(engine: Engine, thread: Thread, settings: Settings) -> None:
    with Receiver(f"answer {FACTS}") as receiver:
        settings.ANALYSIS_ENRICH_URL, settings.ANALYSIS_ENRICH_TOKEN = receiver.url, "s3cret"
        run, analysis = analysed(engine, thread, TEXT)

    asked = receiver.received[0]
    assert asked.headers["Authorization"] == "Bearer s3cret"
    assert "Ada Lovelace" in json.loads(asked.body)["entities"]
    assert analysis["background"] == {
        "facts": [{"entity": "Ada Lovelace", "text": "Wrote *notes*."}],
        "note": "",
    }
    assert r"- **Ada Lovelace**: Wrote \*notes\*." in run.messages.get(role="ai").content


@pytest.mark.parametrize(
    ("behaviour", "note"),
    [
        ("answer []", "unreadable"),
        ('answer {"facts": [{"entity": 1}]}', "unreadable"),
        ("status 503", "unreadable"),
        ("10 MB", "unreadable"),
        ("hang", "away"),
    ],
)
def test_what_is_wrong_with_it_costs_only_the_background(
    engine: Engine,
    thread: Thread,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: str,
    note: str,
) -> None:
    monkeypatch.setattr(background, "TIME_LIMIT", 1.0 if behaviour == "hang" else 20.0)
    with Receiver(behaviour) as receiver:
        settings.ANALYSIS_ENRICH_URL = receiver.url
        run, analysis = analysed(engine, thread, TEXT)
        assert receiver.sent < 5_000_000

    assert run.status == RunStatus.SUCCESS, run.error
    assert analysis["background"] == {"facts": [], "note": note}


def test_it_follows_the_service_nowhere(engine: Engine, thread: Thread, settings: Settings) -> None:
    with Receiver() as inner, Receiver(f"redirect {inner.url}") as receiver:
        settings.ANALYSIS_ENRICH_URL = receiver.url
        _run, analysis = analysed(engine, thread, TEXT)

    assert len(receiver.received) == 1
    assert inner.received == []
    assert analysis["background"]["note"] == "unreadable"


def test_a_step_of_ours_that_takes_too_long_ends_the_analysis(
    engine_on: EngineOn, thread: Thread, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "METRICS", (*graph.METRICS, lambda text: time.sleep(3) or {}))
    settings.ANALYSIS_STEP_LIMIT = 1.0
    with engine_on() as engine:
        run, _analysis = analysed(engine, thread, TEXT)

    assert run.status == RunStatus.ERROR
    assert run.error == "A step of the assistant took too long and was stopped. Try again."


@hypothesis.given(st.text(max_size=400))
def test_every_text_can_be_counted_and_read_without_the_model(text: str) -> None:
    flaws = metrics.problems(text)
    counted = metrics.measured(*(each(text) for each in graph.METRICS))

    assert counted.characters == len(text)
    assert flaws or all(reading.without_model(text) for reading in readings.READINGS.values())


def test_a_worker_that_is_killed_leaves_it_to_another(thread: Thread, demo_model: DemoModel) -> None:
    """The first dies while the four are being read; the second goes on after the step that was done."""
    env = {
        "OPENAI_BASE_URL": demo_model.base_url,
        "COUNTERSIGN_RUN_LEASE": "2",
        "COUNTERSIGN_RUN_HEARTBEAT": "0.5",
    }
    run = runs.send_message(thread, thread.owner, TEXT, fields=cast(RunFields, PROGRAMS))
    with Process("worker", OPENAI_MODEL="demo-model+hang", **env) as first:
        until(lambda: Run.objects.get(pk=run.pk).status == RunStatus.RUNNING, seconds=PATIENCE)
        until(lambda: _checkpoints(run) >= 2)
        first.kill()
    with Process("worker", OPENAI_MODEL="demo-model", **env):
        until(lambda: not Run.objects.get(pk=run.pk).is_active, seconds=PATIENCE)

    run.refresh_from_db()
    assert (run.status, run.attempt) == (RunStatus.SUCCESS, 2), run.error
    assert state_after(run)["analysis"]["fallbacks"] == {}
    assert run.messages.filter(role="ai").count() == 1


def _checkpoints(run: Run) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM checkpoints WHERE thread_id = %s", [str(run.thread_id)])
        return int(cursor.fetchone()[0])
