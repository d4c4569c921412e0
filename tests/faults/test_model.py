"""A model endpoint that refuses, hangs, drips, breaks off and lies about being finished."""

from __future__ import annotations

import time

import pytest
from pytest_django.fixtures import Settings
from runtime.models import Run, RunStatus, Thread

from tests.faults.lab import WELL, Lab
from tests.support.engines import EngineOn, take_turn

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

RING = 'call ring with {"key": "a", "before": 0.25}'
ENDED = (*WELL, RunStatus.ERROR, RunStatus.TIMEOUT)


@pytest.fixture
def lab(lab: Lab, settings: Settings) -> Lab:
    """With the engine in the test's own process: nothing is killed here."""
    settings.COUNTERSIGN_GRAPHS = {"lab": "tests.support.lab_graph:build"}
    settings.HOME = lab.home
    settings.OPENAI_API_KEY = f"lab-{lab.home}"  # the endpoint counts faults by key
    settings.MODEL_IDLE_TIMEOUT, settings.MODEL_TIME_LIMIT = 1.0, 3.0
    return lab


def take(lab: Lab, engine_on: EngineOn, model: str, text: str) -> Run:
    lab.strike()
    with engine_on(f"demo-model+{model}", base_url=lab.model_url) as engine:
        run = take_turn(engine, lab.thread(), text)
        lab.settle(allowed=ENDED)
    return run


@pytest.mark.fault("M1 refused, then served")
@pytest.mark.parametrize("model", ["429x2,retry_after=1", "503x2", "500x1"])
def test_a_model_that_refuses_for_a_moment_is_asked_again(lab: Lab, engine_on: EngineOn, model: str) -> None:
    assert take(lab, engine_on, model, RING).status == RunStatus.SUCCESS
    assert lab.rings() == ["a"]


@pytest.mark.fault("M2 refused again and again, then served")
@pytest.mark.parametrize(("model", "failing"), [("503x5", 1), ("500x6", 2)])
def test_a_model_that_goes_on_refusing_is_asked_three_times_a_turn(
    lab: Lab, engine_on: EngineOn, model: str, failing: int
) -> None:
    """The endpoint counts: the first 5, or 6, requests are refused."""
    with engine_on(f"demo-model+{model}", base_url=lab.model_url) as engine:
        thread = lab.thread()
        failed = [take_turn(engine, thread, RING) for _ in range(failing)]
        served = take_turn(engine, thread, RING)
        lab.settle(allowed=ENDED)

    assert {run.status for run in failed} == {RunStatus.ERROR}
    assert {run.error for run in failed} == {f"The model endpoint answered {model[:3]}. Try again."}
    assert served.status == RunStatus.SUCCESS
    assert lab.rings() == ["a"]


@pytest.mark.fault("M3 M4 silent, stalling, dripping")
@pytest.mark.parametrize("model", ["hang", "stall", "comments", "drip=0.5"])
def test_a_model_that_keeps_silent_ends_the_run_in_time(lab: Lab, engine_on: EngineOn, model: str) -> None:
    began = time.monotonic()
    run = take(lab, engine_on, model, "Tell me a long story")

    assert run.status in (RunStatus.ERROR, RunStatus.TIMEOUT)
    assert run.error
    assert (
        time.monotonic() - began < 3 * 1.0 + 3.0 + 2.0
    )  # two retries of a silent connection, the whole call, a margin


@pytest.mark.fault("M5 cut off in a tool call")
@pytest.mark.parametrize("model", ["cut", "cuttool", "length"])
def test_a_tool_call_that_was_cut_off_does_not_run(lab: Lab, engine_on: EngineOn, model: str) -> None:
    run = take(lab, engine_on, model, RING)

    assert run.status == RunStatus.ERROR
    assert "run" in run.error
    assert lab.rings() == []


@pytest.mark.fault("M6 malformed answers")
@pytest.mark.parametrize("model", ["malformed", "errorevent", "abort"])
def test_an_answer_that_cannot_be_read_ends_with_words_for_it(
    lab: Lab, engine_on: EngineOn, model: str
) -> None:
    run = take(lab, engine_on, model, RING)

    assert run.status == RunStatus.ERROR
    assert run.error
    assert lab.rings() == []


@pytest.mark.fault("M6 arguments that can't be kept")
@pytest.mark.parametrize("key", [r"a\u0000b", r"a\ud800b"], ids=["NUL", "half a character"])
def test_a_thread_goes_on_after_a_tool_call_that_can_not_be_kept(
    lab: Lab, engine_on: EngineOn, key: str
) -> None:
    with engine_on("demo-model", base_url=lab.model_url) as engine:
        thread = lab.thread()
        spoiled = take_turn(engine, thread, f'call ring with {{"key": "{key}"}}')
        served = take_turn(engine, thread, RING)
        lab.settle(allowed=ENDED)

    assert spoiled.error == "The model wrote a tool call that can't be read. Nothing was run."
    assert served.status == RunStatus.SUCCESS
    assert lab.rings() == ["a"]


@pytest.mark.fault("M5 cut off in a tool call")
def test_a_thread_goes_on_after_an_answer_that_was_cut_off(lab: Lab, engine_on: EngineOn) -> None:
    with engine_on("demo-model+cuttoolx1", base_url=lab.model_url) as engine:
        thread: Thread = lab.thread()
        assert take_turn(engine, thread, RING).status == RunStatus.ERROR
        assert take_turn(engine, thread, RING).status == RunStatus.SUCCESS
        lab.settle(allowed=ENDED)

    assert lab.rings() == ["a"]
