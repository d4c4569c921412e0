"""Tasks: begun, looked at, stopped, decided on, tried again."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from accounts.models import User
from accounts.scopes import Scope
from runtime.models import Message, Run, RunStatus, ToolCall, ToolState

from apps.approvals.models import PolicyRule
from tests.chat.api.conftest import Program
from tests.chat.conftest import Worker
from tests.support.asking import perform
from tests.support.engines import EngineOn

pytestmark = pytest.mark.django_db(transaction=True)

TASK = {
    "topic": "Teapots",
    "mode": "draft",
    "config": {"target_audience": "Children", "depth_level": "shallow", "target_length": 300},
}
KEY = {"Idempotency-Key": "one"}


@pytest.fixture
def waiting(engine_on: EngineOn, worker: Worker, order: object, rules: object) -> Run:
    """A run of the shop assistant that waits, asked of Approvers."""
    with engine_on() as engine:
        run = worker.ask("Refund order 1042")
        assert perform(engine, worker.thread).status == RunStatus.WAITING
    return run


@pytest.fixture
def requester_confirms(rules: None) -> None:
    for rule in PolicyRule.objects.all():
        rule.requester_confirms = True
        rule.save()


def test_a_task_is_what_the_person_says_and_what_a_graph_can_read(
    alices_program: Program, assistant: object
) -> None:
    answer = alices_program.post("/tasks", TASK)

    task = answer.json()
    run = Run.objects.get(pk=task["task_id"])
    assert (answer.status_code, answer["Location"]) == (202, f"/api/v1/tasks/{run.pk}")
    assert task["session_id"] == str(run.thread_id)
    assert task["events"] == f"/api/v1/events/{run.thread_id}"
    said = Message.objects.get().content
    assert said == "Teapots\n\nMode: draft\nAudience: Children\nDepth: shallow\nLength in words: 300"
    assert run.config == {"configurable": {"topic": "Teapots", "mode": "draft", **TASK["config"]}}  # type: ignore[dict-item]
    assert run.options is None


def test_its_progress_is_what_can_be_counted(alices_program: Program, worker: Worker) -> None:
    run = worker.begin()
    worker.say(run, "m", "Let me see")
    worker.call(run, "done")
    worker.call(run, "running")

    task = alices_program.get(f"/tasks/{run.pk}").json()

    assert (task["status"], task["result"], task["ended_at"]) == ("running", None, None)
    assert task["progress"] == {
        "steps": None,
        "steps_done": None,
        "tool_calls": {"total": 2, "done": 1, "waiting": 0},
        "messages": 1,
        "fraction": None,
    }
    run.finish(RunStatus.SUCCESS, usage={"tokens": (3, 4), "cost": Decimal(0), "calls": []})
    task = alices_program.get(f"/tasks/{run.pk}").json()
    assert (task["status"], task["result"], task["progress"]["fraction"]) == ("success", "Let me see", 1.0)
    assert task["usage"] == {"input_tokens": 3, "output_tokens": 4}
    assert task["ended_at"]


def test_a_task_at_work_is_stopped_and_one_that_has_ended_is_not(
    alices_program: Program, worker: Worker
) -> None:
    queued = worker.ask()
    stopped = alices_program.post(f"/tasks/{queued.pk}/cancel")
    running = worker.begin()
    asked = alices_program.post(f"/tasks/{running.pk}/cancel")

    assert (stopped.status_code, stopped.json()["status"]) == (202, "cancelled")
    assert asked.status_code == 202
    running.refresh_from_db()
    assert running.cancel_requested_at is not None
    assert alices_program.post(f"/tasks/{queued.pk}/cancel").status_code == 409


def test_a_task_that_waits_takes_back_what_it_asked(alices_program: Program, waiting: Run) -> None:
    answer = alices_program.post(f"/tasks/{waiting.pk}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert ToolCall.objects.get(tool="refund_order").state == ToolState.CANCELLED


def test_the_requester_may_not_approve_by_this_door_either(
    alices_program: Program, waiting: Run, program: Callable[..., Program], alice: User
) -> None:
    path = f"/tasks/{waiting.pk}/resume"

    assert alices_program.post(path, {"type": "approve"}).status_code == 403
    assert program(alice, Scope.CHAT).post(path, {"type": "approve"}).status_code == 403
    assert ToolCall.objects.get(tool="refund_order").state == ToolState.WAITING
    assert Run.objects.count() == 1


def test_a_decision_goes_on_once_however_often_it_is_sent(
    requester_confirms: None, waiting: Run, alices_program: Program
) -> None:
    call = ToolCall.objects.get(tool="refund_order")
    task = alices_program.get(f"/tasks/{waiting.pk}").json()
    assert (task["status"], task["progress"]["tool_calls"]["waiting"]) == ("waiting", 1)
    assert [each["digest"] for each in task["interrupts"]] == [call.args_digest]
    path, body = f"/tasks/{waiting.pk}/resume", {"type": "approve", "digest": call.args_digest}

    answers = [alices_program.post(path, body, **KEY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202], answers[0].content
    assert {answer.json()["run_id"] for answer in answers} == {str(waiting.resumed_by.get().pk)}
    assert alices_program.post(path, body).status_code == 409


def test_a_task_that_failed_is_tried_again(alices_program: Program, worker: Worker) -> None:
    run = worker.begin("Write about teapots")
    run.finish(RunStatus.ERROR, error="It broke.", error_type="ValueError")
    path = f"/tasks/{run.pk}/resume"

    answers = [alices_program.post(path, {}, **KEY) for _ in range(2)]

    task = answers[0].json()
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].json()["task_id"] == task["task_id"] != str(run.pk)
    again = Run.objects.get(pk=task["task_id"])
    assert again.thread_id == run.thread_id
    assert [message["content"] for message in (again.input or {})["messages"]] == ["Write about teapots"]
    failed = alices_program.get(f"/tasks/{run.pk}").json()
    assert failed["error"] == {"type": "ValueError", "message": "It broke."}
    assert Run.objects.count() == 2


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        ("running", {}, 409),
        ("success", {}, 409),
        ("cancelled", {}, 409),
        ("success", {"type": "approve"}, 409),
        ("waiting", {}, 422),
        ("success", {"type": "maybe"}, 422),
    ],
)
def test_what_can_t_go_on_is_said_so(
    alices_program: Program, worker: Worker, status: str, body: Any, code: int
) -> None:
    run = worker.begin()
    if status != "running":
        run.finish(status)

    answer = alices_program.post(f"/tasks/{run.pk}/resume", body)

    assert (answer.status_code, bool(answer.json()["detail"])) == (code, True)
    assert Run.objects.count() == 1


def test_of_several_that_wait_one_is_named(alices_program: Program, worker: Worker) -> None:
    run = worker.begin()
    worker.call(run)
    worker.call(run)
    run.finish(RunStatus.WAITING)

    answer = alices_program.post(f"/tasks/{run.pk}/resume", {"type": "approve"})

    assert (answer.status_code, "tool_call_id" in answer.json()["detail"]) == (422, True)
