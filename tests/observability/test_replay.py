from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from runtime.models import Run, ToolCall

pytestmark = pytest.mark.django_db

Turn = tuple[Run, Run, ToolCall]


def replay(*args: str) -> str:
    out = io.StringIO()
    call_command("replay", *args, stdout=out)
    return out.getvalue()


def events(*args: str) -> list[str]:
    return [step["event"] for step in json.loads(replay(*args, "--json"))["steps"]]


def test_it_tells_the_whole_turn_in_order(approved_turn: Turn) -> None:
    first, second, _ = approved_turn
    wanted = [
        "run_created",
        "message",
        "run_claimed",
        "tool_call_proposed",
        "tool_call_judged",
        "run_ended",
        "tool_call_decided",
        "run_created",
        "run_claimed",
        "tool_call_started",
        "tool_call_done",
        "message",
        "run_ended",
    ]
    assert events(str(first.pk)) == wanted
    assert events(str(second.pk)) == wanted


def test_it_tells_one_run_alone(approved_turn: Turn) -> None:
    first, second, _ = approved_turn
    assert "tool_call_started" not in events(str(first.pk), "--no-chain")
    assert "tool_call_proposed" not in events(str(second.pk), "--no-chain")


def test_it_prints_offsets_people_and_tokens(approved_turn: Turn) -> None:
    text = replay(str(approved_turn[0].pk))
    assert "+0.100 s  run_claimed           claimed by w1 (attempt 1)" in text
    assert "+59.000 s  tool_call_decided     approve (bob): goodwill" in text
    assert "+61.000 s  tool_call_done        done: Refunded." in text
    assert text.endswith("2 runs, 30 tokens in, 12 out\n")


def test_it_tells_why_a_run_failed(make_run: Callable[..., Run]) -> None:
    run = make_run("error", error="no answer", error_type="ModelTimeout")
    assert "failed: ModelTimeout: no answer" in replay(str(run.pk))


def test_it_tells_of_a_denied_call(make_call: Callable[..., ToolCall]) -> None:
    call = make_call("denied", policy="no rule", reason="No rule allows this tool.")
    assert "denied by policy (no rule): No rule allows this tool." in replay(str(call.run_id))


def test_it_tells_of_a_run_that_has_not_begun(make_run: Callable[..., Run]) -> None:
    assert events(str(make_run("pending").pk)) == ["run_created"]


def test_what_a_model_wrote_does_not_steer_the_terminal(make_call: Callable[..., ToolCall]) -> None:
    call = make_call(finished_at=make_call().created_at, result="\x1b[2Jgone")
    text = replay(str(call.run_id))
    assert "\x1b" not in text
    assert "[2Jgone" in text


@pytest.mark.parametrize("unknown", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_it_refuses_an_unknown_run_in_one_line(unknown: str) -> None:
    with pytest.raises(CommandError) as refused:
        replay(unknown)
    assert refused.value.returncode == 1
    assert str(refused.value).count("\n") == 0
    assert unknown in str(refused.value)
