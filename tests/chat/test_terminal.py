"""`manage.py ask` and `manage.py chat`, in processes of their own, beside a worker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from accounts.models import User
from runtime import decisions
from runtime.models import Run, RunStatus, Thread, ToolCall, ToolState

from apps.approvals.models import PolicyRule
from apps.chat.terminal import plain
from tests.support.demo import DemoModel
from tests.support.nursery import Process
from tests.support.processes import ROOT, end, environment, until

pytestmark = pytest.mark.django_db(transaction=True)

WITHIN = 90  # seconds


@pytest.fixture(scope="module")
def shared_worker(django_db_setup: None, django_db_blocker: Any, demo_model: DemoModel) -> Iterator[None]:
    env = {"OPENAI_BASE_URL": demo_model.base_url, "OPENAI_MODEL": "demo-model"}
    with django_db_blocker.unblock(), Process("worker", **env):
        yield


@pytest.fixture
def worker(shared_worker: None, order: object, rules: object, assistant: object) -> None:
    """One that is there, and something to refund."""


def begun(*command: str) -> subprocess.Popen[str]:
    argv = [sys.executable, str(ROOT / "manage.py"), *command]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        argv, env=environment(), cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def manage(*command: str, typed: str = "") -> tuple[int, str, str]:
    process = begun(*command)
    out, err = process.communicate(typed, timeout=WITHIN)
    return process.returncode, out, err


def test_an_answer_is_printed_once_and_alone(worker: None, alice: User) -> None:
    code, out, err = manage("ask", "What is 2 * 21?", "--as", "alice")

    run = Run.objects.get()
    said = [message.content for message in run.messages.filter(role="ai").order_by("created_at", "pk")]
    assert (code, run.user, run.status) == (0, alice, RunStatus.SUCCESS)
    assert out == "".join(f"{text}\n" for text in said if text)
    assert "[calculator" in err
    assert "done" in err


def test_a_script_gets_the_outcome_in_json(worker: None, alice: User) -> None:
    code, out, _ = manage("ask", "-", "--as", "alice", "--json", typed="Hello")
    first = json.loads(out)
    again = json.loads(
        manage("ask", "Hello again", "--as", "alice", "--json", "--session", first["session_id"])[1]
    )

    assert (code, first["status"], first["error"]) == (0, "success", None)
    assert first["answer"] == Run.objects.get(pk=first["run_id"]).messages.get(role="ai").content
    assert again["session_id"] == first["session_id"]
    assert Thread.objects.count() == 1


def test_what_waits_for_a_person_is_said_by_the_exit_code(worker: None, alice: User) -> None:
    code, out, err = manage("ask", "Refund order 1042", "--as", "alice", "--json")

    assert code == 2
    assert [each["tool"] for each in json.loads(out)["interrupts"]] == ["refund_order"]
    assert "[refund_order" in err
    assert "waits for a decision" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--as", "nobody"], "There is nobody called 'nobody'"),
        (["--as", "bob"], "bob may not chat"),
        (["--as", "carol", "--session", "{alices}"], "There is no such thread"),
        (["--as", "alice", "--assistant", "none"], "There is no assistant called none"),
    ],
)
def test_who_may_not_is_told_why(
    thread: Thread, bob: User, carol: User, arguments: list[str], why: str
) -> None:
    filled = [each.replace("{alices}", str(thread.pk)) for each in arguments]

    code, out, err = manage("ask", "Hello", *filled)

    assert (code, out) == (1, "")
    assert why in err
    assert Run.objects.count() == 0


def test_the_requester_confirms_where_a_rule_lets_them(worker: None, alice: User) -> None:
    PolicyRule.objects.filter(tool="refund_order").update(requester_confirms=True)

    code, out, err = manage("chat", "--as", "alice", typed="Refund order 1042\nperhaps\ny\n")

    call = ToolCall.objects.get(tool="refund_order")
    assert (code, call.state, call.decided_by) == (0, ToolState.DONE, alice)
    assert out.count("Run refund_order? [y/n]") == 2
    assert Run.objects.latest("created_at").messages.filter(role="ai").get().content in out
    assert f"manage.py chat --as alice --session {call.thread_id}" in err


def test_it_goes_on_when_others_have_decided(worker: None, alice: User, bob: User) -> None:
    talking = begun("chat", "--as", "alice")
    assert talking.stdin is not None
    assert talking.stderr is not None
    talking.stdin.write("Refund order 1042\n")
    talking.stdin.flush()
    said = iter(talking.stderr.readline, "")
    assert any("Waiting for members of Approvers to decide on refund_order" in line for line in said)

    decisions.decide(bob, ToolCall.objects.get(state=ToolState.WAITING).pk, {"type": "approve"})
    out, err = talking.communicate("", timeout=WITHIN)

    assert "[refund_order" in err
    assert Run.objects.latest("created_at").messages.filter(role="ai").get().content in out


def test_ctrl_c_stops_the_answer_and_not_the_conversation(
    worker: None, alice: User, person: Callable[..., User]
) -> None:
    talking = begun("chat", "--as", "alice")
    try:
        assert talking.stdin is not None
        talking.stdin.write("Tell me a long story\n")
        talking.stdin.flush()
        until(lambda: Run.objects.filter(status=RunStatus.RUNNING).exists(), seconds=WITHIN)
        talking.send_signal(signal.SIGINT)
        until(lambda: Run.objects.filter(status=RunStatus.CANCELLED).exists(), seconds=WITHIN)
        out, err = talking.communicate("Hello\n", timeout=WITHIN)
    finally:
        end(talking, within=10)

    assert "Stopped." in err
    assert Run.objects.latest("created_at").status == RunStatus.SUCCESS
    assert Run.objects.latest("created_at").messages.get(role="ai").content in out


def test_what_a_model_writes_does_nothing_to_the_terminal() -> None:
    assert plain("a\x1b[2Jb\x07c\x9bd\u202ee\n\tf ü 猫 👩‍🚀") == "a�[2Jb�c�d�e\n\tf ü 猫 👩‍🚀"
