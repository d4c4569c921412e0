"""Each violation is planted, and named; a healthy database has none."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from accounts.models import User
from assistants.shop.models import Order
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from runtime import decisions, invariants, ledger
from runtime.engine import Engine
from runtime.models import Message, Run, RunStatus, Thread, ToolCall, ToolState

from apps.approvals.models import ApprovalRequest
from tests.support.engines import take_turn

pytestmark = pytest.mark.django_db

MakeRun = Callable[..., Run]
MakeCall = Callable[..., ToolCall]


def names(*, settled: bool = False) -> set[str]:
    return {violation.name for violation in invariants.violations(settled=settled)}


@pytest.fixture
def run(thread: Thread) -> MakeRun:
    def make(status: str, **fields: Any) -> Run:
        started = None if status == "pending" else timezone.now()
        lease = timezone.now() + timedelta(seconds=10) if status == "running" else None
        defaults = {"thread": thread, "started_at": started, "lease_expires_at": lease}
        return Run.objects.create(
            status=status, assistant=thread.assistant, user=thread.owner, **{**defaults, **fields}
        )

    return make


@pytest.fixture
def call(thread: Thread, run: MakeRun) -> MakeCall:
    """A call as it is, without the request that a receiver would write."""

    def make(state: str, **fields: Any) -> ToolCall:
        args = {"order_number": 1042}
        defaults = {"args": args, "args_digest": ledger.digest(args), "run": fields.pop("run", None)}
        return ToolCall.objects.create(
            state=state,
            thread=thread,
            user=thread.owner,
            assistant=thread.assistant,
            task_id="task",
            call_id="call",
            tool="refund_order",
            **{**defaults, **fields},
        )

    return make


def asked(call: ToolCall, status: str = "pending", **fields: Any) -> ApprovalRequest:
    return ApprovalRequest.objects.create(tool_call=call, question="permission", status=status, **fields)


def resumed(call: ToolCall, run: MakeRun, status: str = "success") -> Run:
    return run(status, command={"resume": {"tool_call": str(call.pk)}})


def test_a_turn_under_way_is_well_until_nothing_should_be(run: MakeRun) -> None:
    run("running", attempt=1)

    assert names() == set()
    assert names(settled=True) == {"run-not-settled"}


def test_a_lease_that_nobody_took_over_is_named(run: MakeRun) -> None:
    run("running", lease_expires_at=timezone.now() - timedelta(seconds=60))

    assert names() == {"lease-expired"}


def test_a_lease_of_an_ended_run_is_named(run: MakeRun) -> None:
    run("error", lease_expires_at=timezone.now())

    assert names() == {"lease-without-owner"}


def test_two_running_runs_of_a_thread_are_named(run: MakeRun) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("DROP INDEX run_one_running_per_thread")  # rolled back with the test
    run("running")
    run("running")

    assert names() == {"two-running"}


def test_a_call_left_approved_by_a_turn_that_ended_is_named(run: MakeRun, call: MakeCall) -> None:
    call("approved", run=run("error"))

    assert names() == {"call-left-over"}


def test_a_message_taken_back_while_a_call_waits_leaves_nothing_over(run: MakeRun, call: MakeCall) -> None:
    asked(call("waiting", run=run("waiting")))
    run("cancelled", started_at=None)

    assert names() == set()


def test_a_turn_that_waits_for_nothing_is_named(run: MakeRun) -> None:
    run("waiting")

    assert names() == {"waits-for-nothing"}


def test_a_call_that_runs_without_a_run_is_named(run: MakeRun, call: MakeCall) -> None:
    call("running", run=run("success"))

    assert names() == {"call-without-run"}


def test_a_call_that_a_dead_worker_left_running_is_well_while_its_run_comes_back(
    run: MakeRun, call: MakeCall
) -> None:
    call("running", run=run("pending", attempt=1))

    assert names() == set()


def test_changed_arguments_are_named(run: MakeRun, call: MakeCall) -> None:
    call("done", run=run("success"), args={"order_number": 6666})

    assert names() == {"arguments-changed"}


def test_a_lost_message_of_a_person_is_named(run: MakeRun) -> None:
    run("success", input={"messages": [{"role": "user", "content": "hello", "id": "m1"}]})

    assert names() == {"message-lost"}


def test_a_lost_answer_is_named(run: MakeRun) -> None:
    run("success", output_tokens=12)

    assert names() == {"message-lost"}


def test_an_answer_kept_twice_is_named(run: MakeRun, thread: Thread) -> None:
    ended = run("success")
    for id in ("a", "b"):
        Message.objects.create(thread=thread, run=ended, message_id=id, role="ai", content="Hello.")

    assert names() == {"message-doubled"}


def test_a_waiting_call_that_nobody_is_asked_about_is_named(run: MakeRun, call: MakeCall) -> None:
    call("waiting", run=run("waiting"))

    assert names() == {"request-not-open"}


def test_a_question_about_a_call_that_no_longer_waits_is_named(run: MakeRun, call: MakeCall) -> None:
    asked(call("done", run=run("success")))

    assert names() == {"request-left-open"}


def test_a_decision_without_its_request_is_named(run: MakeRun, call: MakeCall, bob: User) -> None:
    call("done", run=run("success"), decision="approve", decided_by=bob)

    assert names() == {"decision-not-recorded"}


def test_a_decision_of_somebody_else_is_named(run: MakeRun, call: MakeCall, bob: User, carol: User) -> None:
    decided = call("done", run=run("success"), decision="approve", decided_by=carol)
    asked(decided, "approved", decided_by=bob)
    resumed(decided, run)

    assert names() == {"decision-not-recorded"}


@pytest.mark.parametrize("count", [0, 2])
def test_a_decision_that_woke_the_graph_never_or_twice_is_named(
    run: MakeRun, call: MakeCall, bob: User, count: int
) -> None:
    decided = call("done", run=run("success"), decision="approve", decided_by=bob)
    asked(decided, "approved", decided_by=bob)
    for _ in range(count):
        resumed(decided, run)

    assert names() == {"decision-without-resume"}


@pytest.mark.django_db(transaction=True)
def test_a_database_after_real_turns_is_well(
    engine: Engine, thread: Thread, order: Order, rules: None, bob: User
) -> None:
    take_turn(engine, thread, "hello")
    assert take_turn(engine, thread, "Refund order 1042").status == RunStatus.WAITING
    assert names(settled=True) == set()

    decisions.decide(bob, thread.tool_calls.get(state=ToolState.WAITING).pk, {"type": "approve"})
    engine.perform(str(thread.runs.latest("created_at").pk))

    assert names(settled=True) == set()
    out = io.StringIO()
    call_command("verify_invariants", "--settled", "--checkpoints", stdout=out)
    assert out.getvalue() == "Every invariant holds.\n"


@pytest.mark.django_db(transaction=True)
def test_a_call_without_an_answer_in_the_state_is_named(
    engine: Engine, thread: Thread, order: Order, rules: None
) -> None:
    run = take_turn(engine, thread, "Refund order 1042")
    Run.objects.filter(pk=run.pk).update(status=RunStatus.SUCCESS)  # in the middle of a call

    out = io.StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("verify_invariants", "--checkpoints", "--json", stdout=out)

    assert left.value.code == 1
    found = {
        violation["name"]: violation["subject"] for violation in json.loads(out.getvalue())["violations"]
    }
    assert found["orphan-call"] == f"thread {thread.pk}"
