"""Actions that LangChain's middleware asks about, through the engine: who is asked, and what runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from accounts.models import User
from django.db.models.functions import Now
from runtime import decisions, interrupts, runs
from runtime.engine import Engine
from runtime.exceptions import DecisionRefused, InvalidDecision, LeaseLost
from runtime.models import Run, RunStatus, ToolState

from apps.approvals import requests
from apps.approvals.models import ApprovalRequest
from tests.support import asking_graph
from tests.support.asking import perform, rows
from tests.support.asking_graph import effects
from tests.support.engines import EngineOn, take_turn
from tests.support.other_model import OtherModel

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_wrong_afterwards"),
]


@pytest.fixture
def endpoint() -> Iterator[OtherModel]:
    with OtherModel(seed=3) as model:
        yield model


@pytest.fixture
def reviewer(engine_on: EngineOn, endpoint: OtherModel) -> Iterator[Engine]:
    """An engine on a model that calls refund_order once for each order it is told of."""
    with engine_on(OtherModel.model, endpoint.base_url) as engine:
        yield engine


THREE = "Refund orders 1042, 1043 and 1044, 5.00 each"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_three_actions_are_decided_in_any_order_and_each_is_kept(
    on: Any, reviewer: Engine, engine_on: EngineOn, endpoint: OtherModel, rule: Any, bob: User, order: Any
) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed())
    run = take_turn(reviewer, thread, THREE)
    assert run.status == RunStatus.WAITING, run.error
    asked = rows(thread)
    assert [(row.kind, row.position, row.state) for row in asked] == [
        ("action", position, "waiting") for position in range(3)
    ]
    made: list[Any] = [
        {"type": "approve"},
        {"type": "edit", "args": {**asked[1].args, "amount": "1.00"}},
        {"type": "reject", "message": "Not that one"},
    ]
    for at in order:
        assert effects == {}
        decisions.decide(bob, asked[at].pk, {**made[at], "digest": asked[at].args_digest})
        with engine_on(OtherModel.model, endpoint.base_url) as successor:  # the one before was killed
            last = perform(successor, thread)

    assert last.status == RunStatus.SUCCESS, last.error
    assert effects == {"1042: 5.00": 1, "1043: 1.00": 1}
    assert [row.state for row in rows(thread)] == [ToolState.DONE, ToolState.DONE, ToolState.REJECTED]
    told = endpoint.requests[-1]["messages"]
    assert any("Not that one" in str(message["content"]) for message in told if message["role"] == "tool")
    assert len(rows(thread)) == 3


def test_one_call_at_a_time_is_answered_with_one_decision(
    on: Any, reviewer: Engine, rule: Any, bob: User
) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed("per_call"))
    assert take_turn(reviewer, thread, THREE).status == RunStatus.WAITING
    asked = {row.args["order_number"]: row for row in rows(thread)}
    assert asked[1042].args_schema["properties"]["order_number"]["type"] == "integer"

    decisions.decide(bob, asked[1043].pk, {"type": "approve"})
    assert perform(reviewer, thread).status == RunStatus.WAITING
    assert effects == {"1043: 5.00": 1}
    with pytest.raises(InvalidDecision):
        decisions.decide(bob, asked[1042].pk, {"type": "edit", "args": {"order_number": "many"}})
    decisions.decide(bob, asked[1042].pk, {"type": "edit", "args": {**asked[1042].args, "amount": "2"}})
    decisions.decide(bob, asked[1044].pk, {"type": "respond", "message": "Done by hand"})
    assert perform(reviewer, thread).status == RunStatus.SUCCESS

    assert effects == {"1043: 5.00": 1, "1042: 2": 1}


def test_only_what_the_graph_takes_may_be_decided(on: Any, reviewer: Engine, rule: Any, bob: User) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed(takes={"allowed_decisions": ["approve", "respond"]}))
    take_turn(reviewer, thread, "Refund 1042")
    (action,) = rows(thread)

    for kind in ("edit", "reject"):
        with pytest.raises(InvalidDecision):
            decisions.decide(bob, action.pk, {"type": kind, "message": "no", "args": action.args})
    decisions.withdraw(thread.owner, action.pk)  # put as an answer in the tool's place

    assert perform(reviewer, thread).status == RunStatus.SUCCESS
    assert effects == {}


def test_an_edit_keeps_to_the_arguments_that_were_proposed(
    on: Any, reviewer: Engine, rule: Any, bob: User
) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed())
    take_turn(reviewer, thread, "Refund 1042")
    (action,) = rows(thread)

    with pytest.raises(InvalidDecision):
        decisions.decide(bob, action.pk, {"type": "edit", "args": {**action.args, "name": "wipe"}})
    decisions.withdraw(thread.owner, action.pk)
    perform(reviewer, thread)


def test_what_the_policy_allows_goes_on_at_once(on: Any, reviewer: Engine, rule: Any) -> None:
    rule("refund_order", "allow")
    thread = on(asking_graph.reviewed())

    run = take_turn(reviewer, thread, "Refund 1042, 5.00")

    assert run.status == RunStatus.SUCCESS, run.error
    assert effects == {"1042: 5.00": 1}
    assert thread.runs.count() == 1
    assert not ApprovalRequest.objects.exists()


def test_what_the_policy_denies_is_rejected_with_its_reason(
    on: Any, reviewer: Engine, endpoint: OtherModel
) -> None:
    thread = on(asking_graph.reviewed())

    run = take_turn(reviewer, thread, "Refund 1042")

    assert run.status == RunStatus.SUCCESS, run.error
    assert effects == {}
    assert rows(thread)[0].state == ToolState.DENIED
    assert "Denied by policy" in str(endpoint.requests[-1]["messages"][-1]["content"])


def test_an_approval_that_no_longer_stands_is_asked_for_again(
    on: Any, reviewer: Engine, rule: Any, bob: User
) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed())
    take_turn(reviewer, thread, "Refund 1042")
    (action,) = rows(thread)
    decisions.decide(bob, action.pk, {"type": "approve"})
    User.objects.filter(pk=bob.pk).update(is_active=False)

    assert perform(reviewer, thread).status == RunStatus.WAITING
    action.refresh_from_db()
    assert action.state == ToolState.WAITING
    assert effects == {}
    decisions.withdraw(thread.owner, action.pk)
    perform(reviewer, thread)


def test_the_requester_approves_no_action_that_others_are_asked_about(
    on: Any, reviewer: Engine, rule: Any
) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed())
    take_turn(reviewer, thread, "Refund 1042")
    (action,) = rows(thread)

    assert decisions.may_answer(thread.owner, action) == []
    with pytest.raises(DecisionRefused):
        decisions.decide(thread.owner, action.pk, {"type": "approve"})
    decisions.withdraw(thread.owner, action.pk)
    perform(reviewer, thread)


def test_a_new_message_takes_the_place_of_all_actions(
    on: Any, reviewer: Engine, rule: Any, bob: User
) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed())
    take_turn(reviewer, thread, THREE)
    decisions.decide(bob, rows(thread)[0].pk, {"type": "approve"})
    perform(reviewer, thread)

    message = {"role": "user", "content": "Hello", "id": "hello"}
    runs.create_run(thread, user=thread.owner, input={"messages": [message]}, when_waiting="withdraw")
    last = perform(reviewer, thread)

    assert last.status == RunStatus.SUCCESS, last.error
    assert {row.state for row in rows(thread)} == {ToolState.CANCELLED, ToolState.SUPERSEDED}
    assert effects == {}


def test_stop_takes_back_what_was_approved(on: Any, reviewer: Engine, rule: Any, bob: User) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed())
    take_turn(reviewer, thread, "Refund 1042")
    decisions.decide(bob, rows(thread)[0].pk, {"type": "approve"})
    runs.cancel_run(thread.runs.get(status=RunStatus.PENDING))

    assert perform(reviewer, thread).status == RunStatus.SUCCESS
    assert (effects, rows(thread)[0].state) == ({}, ToolState.CANCELLED)


def test_an_action_that_nobody_decides_on_expires_and_the_others_go_on(
    on: Any, reviewer: Engine, rule: Any, bob: User
) -> None:
    rule("refund_order", expires_after=1)
    thread = on(asking_graph.reviewed())
    take_turn(reviewer, thread, "Refund orders 1042 and 1043, 5.00 each")
    first, second = rows(thread)
    decisions.decide(bob, first.pk, {"type": "approve"})
    ApprovalRequest.objects.filter(tool_call=second).update(expires_at=Now())
    requests.look_at_deadlines()

    assert perform(reviewer, thread).status == RunStatus.SUCCESS
    assert effects == {"1042: 5.00": 1}
    assert [row.state for row in rows(thread)] == [ToolState.DONE, ToolState.EXPIRED]


def test_a_crash_before_the_graph_has_heard_tells_it_once_more(
    on: Any, reviewer: Engine, rule: Any, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule("refund_order")
    thread = on(asking_graph.reviewed())
    take_turn(reviewer, thread, "Refund 1042, 5.00")
    decisions.decide(bob, rows(thread)[0].pk, {"type": "approve"})
    resume = thread.runs.get(status=RunStatus.PENDING)
    settle = interrupts.settle

    def die(context: Any, pending: Any) -> Any:
        settle(context, pending)
        raise LeaseLost(run_id=context.run.pk)

    monkeypatch.setattr(interrupts, "settle", die)
    reviewer.perform(str(resume.pk))
    assert (rows(thread)[0].state, effects) == (ToolState.DONE, {})
    monkeypatch.setattr(interrupts, "settle", settle)
    Run.objects.filter(pk=resume.pk).update(status="pending", lease_expires_at=None)

    assert perform(reviewer, thread).status == RunStatus.SUCCESS
    assert effects == {"1042: 5.00": 1}
