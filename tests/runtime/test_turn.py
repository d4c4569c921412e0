"""A turn, through the engine, with a real model endpoint, database and log."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from accounts.models import User
from assistants.shop.models import Order, Refund
from django.core import mail
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from pytest_django.fixtures import Settings
from runtime import decisions, runs
from runtime.engine import Engine
from runtime.models import Assistant, Run, RunStatus, Thread, ToolCall, ToolState

from apps.approvals import policy
from apps.approvals.models import ApprovalRequest, PolicyRule
from tests.support.engines import EngineOn, take_turn
from tests.support.other_model import OtherModel
from tests.support.processes import until

pytestmark = pytest.mark.django_db(transaction=True)

Turn = Callable[[Thread, str], Run]


def resume_of(run: Run, engine: Engine) -> Run:
    resumed = run.resumed_by.get()
    engine.perform(str(resumed.pk))
    resumed.refresh_from_db()
    return resumed


def waiting(thread: Thread) -> ToolCall:
    return thread.tool_calls.get(state=ToolState.WAITING)


def test_it_answers(thread: Thread, turn: Turn) -> None:
    run = turn(thread, "hello")

    assert run.status == RunStatus.SUCCESS, run.error
    assert run.output_tokens > 0
    answer = thread.messages.get(role="ai")
    assert "demo model" in answer.content
    assert not answer.is_partial


def test_a_harmless_tool_runs_at_once(thread: Thread, turn: Turn, order: Order) -> None:
    run = turn(thread, "look up order 1042")

    assert run.status == RunStatus.SUCCESS, run.error
    call = thread.tool_calls.get()
    assert (call.tool, call.state, call.policy) == ("look_up_order", ToolState.DONE, "not sensitive")
    assert call.proposed_args == {"order_number": 1042}
    assert "Ada" in call.result


def test_a_sensitive_tool_waits_and_runs_once_when_approved(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    assert run.status == RunStatus.WAITING, run.error
    call = waiting(thread)
    assert call.args["amount"] == "59.90"
    assert Refund.objects.count() == 0

    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    resumed = resume_of(run, engine)

    assert resumed.status == RunStatus.SUCCESS, resumed.error
    call.refresh_from_db()
    assert (call.state, call.decision, call.decided_by) == (ToolState.DONE, "approve", bob)
    order.refresh_from_db()
    assert order.refunded == Decimal("59.90")
    assert Refund.objects.get().key == str(call.pk)
    assert thread.messages.filter(role="ai").count() >= 2


def test_without_a_rule_a_sensitive_tool_is_denied(thread: Thread, turn: Turn, order: Order) -> None:
    run = turn(thread, "Refund order 1042")

    assert run.status == RunStatus.SUCCESS
    assert thread.tool_calls.get(tool="refund_order").state == ToolState.DENIED
    assert Refund.objects.count() == 0


def test_a_rejection_tells_the_model_why(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    decisions.decide(bob, waiting(thread).pk, {"type": "reject", "message": "Not this month"})
    resumed = resume_of(run, engine)

    assert resumed.status == RunStatus.SUCCESS
    assert Refund.objects.count() == 0
    last = thread.messages.filter(role="ai").last()
    assert last is not None
    assert "Not this month" in last.content


def test_edited_arguments_are_what_runs(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    call = waiting(thread)
    decisions.decide(bob, call.pk, {"type": "edit", "args": {**call.args, "amount": "10.00"}})
    resume_of(run, engine)

    order.refresh_from_db()
    assert order.refunded == Decimal("10.00")
    call.refresh_from_db()
    assert call.proposed_args["amount"] == "59.90"
    assert call.args["amount"] == "10.00"


def test_a_response_stands_in_the_tools_place(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    call = waiting(thread)
    decisions.decide(bob, call.pk, {"type": "respond", "message": "Already refunded by hand"})
    resume_of(run, engine)

    call.refresh_from_db()
    assert (call.state, call.result) == (ToolState.RESPONDED, "Already refunded by hand")
    assert Refund.objects.count() == 0


def test_two_calls_are_decided_one_by_one_and_each_runs_once(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    Order.objects.create(number=1043, customer="Bea", email="bea@example.com", total="20.00")
    run = turn(thread, "refund orders 1042 and 1043")
    first, second = thread.tool_calls.filter(state=ToolState.WAITING).order_by("created_at")

    decisions.decide(bob, first.pk, {"type": "approve"})
    between = resume_of(run, engine)
    assert between.status == RunStatus.WAITING
    assert Refund.objects.count() == 1
    decisions.decide(bob, second.pk, {"type": "approve"})
    last = resume_of(between, engine)

    assert last.status == RunStatus.SUCCESS
    assert Refund.objects.count() == 2


def test_decisions_taken_together_are_resumed_together(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    Order.objects.create(number=1043, customer="Bea", email="bea@example.com", total="20.00")
    turn(thread, "refund orders 1042 and 1043")
    for call in thread.tool_calls.filter(state=ToolState.WAITING):
        decisions.decide(bob, call.pk, {"type": "approve"})
    for run in thread.runs.filter(status=RunStatus.PENDING).order_by("created_at"):
        engine.perform(str(run.pk))

    assert set(thread.runs.exclude(status=RunStatus.WAITING).values_list("status", flat=True)) == {
        RunStatus.SUCCESS
    }
    assert Refund.objects.count() == 2


def test_a_withdrawn_call_does_not_run_and_the_thread_goes_on(
    thread: Thread, turn: Turn, order: Order, rules: None, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    call = waiting(thread)
    decisions.withdraw(thread.owner, call.pk)
    resume_of(run, engine)

    call.refresh_from_db()
    assert call.state == ToolState.CANCELLED
    assert turn(thread, "hello").status == RunStatus.SUCCESS


def test_an_approver_who_was_switched_off_voids_the_approval(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    call = waiting(thread)
    decisions.decide(bob, call.pk, {"type": "approve"})
    User.objects.filter(pk=bob.pk).update(is_active=False)
    resumed = resume_of(run, engine)

    assert resumed.status == RunStatus.WAITING
    call.refresh_from_db()
    assert call.state == ToolState.WAITING
    assert "switched off" in call.reason
    assert ApprovalRequest.objects.filter(tool_call=call, status="pending").count() == 1
    assert Refund.objects.count() == 0


def test_an_e_mail_is_sent_once(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "e-mail bob@example.com that the order is late")
    decisions.decide(bob, waiting(thread).pk, {"type": "approve"})
    resume_of(run, engine)

    assert [message.to for message in mail.outbox] == [["bob@example.com"]]


@pytest.mark.parametrize("fault", ["cuttool", "length", "malformed", "errorevent", "500", "cut"])
def test_a_broken_answer_runs_nothing_and_says_so(
    thread: Thread, engine_on: EngineOn, order: Order, rules: None, fault: str
) -> None:
    with engine_on(f"demo-model+{fault}") as engine:
        run = take_turn(engine, thread, "Refund order 1042")

    assert run.status == RunStatus.ERROR
    assert run.error
    assert "Something went wrong" not in run.error
    assert Refund.objects.count() == 0
    with engine_on() as engine:
        assert take_turn(engine, thread, "hello").status == RunStatus.SUCCESS  # the thread is not stuck


def graph() -> Any:
    """Says something, works for as long as the test wants, and says something else."""

    def begin(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Let me see.", id="one")]}

    def go_on(state: MessagesState) -> dict[str, Any]:
        going_on.wait(20)
        return {"messages": [AIMessage("I see.", id="two")]}

    builder = StateGraph(MessagesState)
    builder.add_node("begin", begin)
    builder.add_node("go_on", go_on)
    builder.add_edge(START, "begin")
    builder.add_edge("begin", "go_on")
    return builder.compile()


going_on = threading.Event()


def test_what_was_said_is_kept_while_the_graph_goes_on(
    alice: User, engine: Engine, settings: Settings
) -> None:
    settings.COUNTERSIGN_GRAPHS = {"slow": "tests.runtime.test_turn:graph"}
    assistant = Assistant.objects.create(graph_id="slow", name="Slow")
    thread = Thread.objects.create(owner=alice, assistant=assistant)
    run = runs.send_message(thread, alice, "look")
    performing = engine.start(str(run.pk))
    try:
        until(thread.messages.filter(content="Let me see.").exists)
    finally:
        going_on.set()
        performing.result(10)

    said = thread.messages.filter(role="ai").values_list("content", flat=True)
    assert list(said) == ["Let me see.", "I see."]


def test_a_policy_that_denies_after_the_approval_has_the_last_word(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    call = waiting(thread)
    decisions.decide(bob, call.pk, {"type": "approve"})
    PolicyRule.objects.create(name="No refunds today", tool="refund_order", verdict="deny")

    assert resume_of(run, engine).status == RunStatus.SUCCESS
    call.refresh_from_db()
    assert call.state == ToolState.DENIED
    assert Refund.objects.count() == 0


def test_a_policy_that_breaks_lets_nothing_through(
    thread: Thread, turn: Turn, order: Order, rules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tool_call: ToolCall) -> None:
        raise RuntimeError("unreadable")

    monkeypatch.setattr(policy, "judge", broken)

    turn(thread, "Refund order 1042")

    assert set(thread.tool_calls.values_list("state", flat=True)) == {ToolState.DENIED}


@pytest.mark.parametrize("seed", range(5))
def test_another_endpoint_with_other_habits_does_as_well(
    thread: Thread, engine_on: EngineOn, rules: None, bob: User, seed: int
) -> None:
    chance = random.Random(seed)
    number, amount = chance.randint(1000, 99_999), Decimal(chance.randint(1, 5000)) / 100
    order = Order.objects.create(number=number, customer="Cy", email="cy@example.com", total="50.00")
    with OtherModel(seed) as model, engine_on(model.model, model.base_url) as engine:
        for refunds in (1, 2):  # its call ids come again in every message
            run = take_turn(engine, thread, f"refund {amount} of order {number}")
            assert run.status == RunStatus.WAITING, run.error
            decisions.decide(bob, waiting(thread).pk, {"type": "approve"})
            assert resume_of(run, engine).status == RunStatus.SUCCESS
            if amount * 2 > 50:
                break
            assert Refund.objects.count() == refunds

    order.refresh_from_db()
    assert order.refunded == amount * Refund.objects.count()


def test_what_was_approved_and_then_stopped_does_not_run_and_the_thread_goes_on(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User, engine: Engine
) -> None:
    run = turn(thread, "Refund order 1042")
    call = waiting(thread)
    decisions.decide(bob, call.pk, {"type": "approve"})
    resumed = run.resumed_by.get()

    assert runs.cancel_run(resumed)  # before any worker took it
    assert resume_of(run, engine).status == RunStatus.SUCCESS
    call.refresh_from_db()
    assert call.state == ToolState.CANCELLED
    assert Refund.objects.count() == 0
    assert turn(thread, "hello").status == RunStatus.SUCCESS


def test_a_turn_uses_only_so_many_tokens(thread: Thread, turn: Turn, settings: Settings) -> None:
    settings.RUN_TOKEN_LIMIT = 1

    run = turn(thread, "hello")

    assert run.status == RunStatus.ERROR
    assert "more than 1 tokens" in run.error
