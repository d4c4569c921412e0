"""Interrupts of any graph, through the engine: who is asked, and what the graph gets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from accounts.models import User
from django.contrib.auth.models import Group
from django.db.models.functions import Now
from langgraph.types import Interrupt
from pytest_django.fixtures import Settings
from runtime import decisions, interrupts, ledger, questions, runs
from runtime.engine import Engine
from runtime.exceptions import DecisionRefused, InvalidDecision, LeaseLost
from runtime.invariants import violations
from runtime.models import Assistant, CallKind, Run, RunStatus, Thread, ToolCall, ToolState

from apps.approvals import requests
from apps.approvals.models import ApprovalRequest, PolicyRule
from tests.support import asking_graph
from tests.support.asking_graph import Parcel, answers, asking, effects, nested, side_by_side
from tests.support.engines import EngineOn, take_turn
from tests.support.other_model import OtherModel

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def on(settings: Settings, alice: User, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Thread]:
    """A thread of alice's on this graph."""

    def make(graph: Any) -> Thread:
        effects.clear()
        answers.clear()
        monkeypatch.setattr(asking_graph, "graph", graph, raising=False)
        settings.COUNTERSIGN_GRAPHS = {"asking": "tests.support.asking_graph:graph"}
        settings.COUNTERSIGN_ALLOW_UNGATED_TOOLS = True
        assistant = Assistant.objects.create(graph_id="asking", name="Asking")
        return Thread.objects.create(owner=alice, assistant=assistant)

    return make


@pytest.fixture
def endpoint() -> Iterator[OtherModel]:
    with OtherModel(seed=3) as model:
        yield model


@pytest.fixture
def reviewer(engine_on: EngineOn, endpoint: OtherModel) -> Iterator[Engine]:
    """An engine on a model that calls refund_order once for each order it is told of."""
    with engine_on(OtherModel.model, endpoint.base_url) as engine:
        yield engine


@pytest.fixture
def rule(bob: User) -> Callable[..., PolicyRule]:
    def make(tool: str, verdict: str = "ask", **fields: Any) -> PolicyRule:
        group = Group.objects.get(name="Approvers")
        return PolicyRule.objects.create(
            name=f"{tool} {verdict}", tool=tool, verdict=verdict, approvers=group, **fields
        )

    return make


@pytest.fixture(autouse=True)
def nothing_is_wrong_afterwards(transactional_db: None) -> Iterator[None]:
    yield
    assert violations() == []


def perform(engine: Engine, thread: Thread) -> Run:
    """All runs that are queued on the thread; the last of them."""
    while run := thread.runs.filter(status=RunStatus.PENDING).order_by("created_at").first():
        engine.perform(str(run.pk))
    newest = thread.runs.order_by("-created_at").first()
    assert newest is not None
    return newest


def rows(thread: Thread) -> list[ToolCall]:
    return list(thread.tool_calls.order_by("interrupt_id", "position"))


def named(thread: Thread, **args: Any) -> ToolCall:
    return thread.tool_calls.get(**{f"args__{name}": value for name, value in args.items()})


# --- actions of LangChain's middleware

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


# --- questions


def test_a_question_is_for_the_person_who_asked(on: Any, engine: Engine, bob: User) -> None:
    thread = on(side_by_side(ask=asking("ask", "Which colour?")))
    assert take_turn(engine, thread, "hi").status == RunStatus.WAITING
    (question,) = rows(thread)
    assert (question.kind, question.args) == (CallKind.QUESTION, {"question": "Which colour?"})

    assert decisions.may_answer(thread.owner, question) == ["respond", "reject"]
    assert decisions.may_answer(bob, question) == []
    with pytest.raises(DecisionRefused):
        decisions.decide(bob, question.pk, {"type": "respond", "message": "red"})
    with pytest.raises(InvalidDecision):
        decisions.decide(thread.owner, question.pk, {"type": "respond", "message": "  "})
    decisions.decide(thread.owner, question.pk, {"type": "respond", "message": "blue"})

    assert perform(engine, thread).status == RunStatus.SUCCESS
    assert answers == [("ask", "blue")]


def test_an_answer_is_held_against_the_schema_and_keeps_its_kind(on: Any, engine: Engine) -> None:
    thread = on(side_by_side(ask=asking("ask", {"q": "Where to?"}, response_schema=Parcel)))
    take_turn(engine, thread, "hi")
    (question,) = rows(thread)

    for wrong in ("Oslo", {"city": "Oslo"}, {"city": "Oslo", "weight": "3"}):
        with pytest.raises(InvalidDecision):
            decisions.decide(thread.owner, question.pk, {"type": "respond", "answer": wrong})
    decisions.decide(thread.owner, question.pk, {"type": "respond", "answer": {"city": "Oslo", "weight": 3}})

    assert perform(engine, thread).status == RunStatus.SUCCESS
    assert answers == [("ask", Parcel(city="Oslo", weight=3))]


@pytest.mark.parametrize("schema", [None, {"type": "boolean"}])
def test_a_question_that_is_not_answered_gets_a_no(on: Any, engine: Engine, schema: Any) -> None:
    thread = on(side_by_side(ask=asking("ask", "Delete it all?", response_schema=schema)))
    take_turn(engine, thread, "hi")

    decisions.decide(thread.owner, rows(thread)[0].pk, {"type": "reject"})

    assert perform(engine, thread).status == RunStatus.SUCCESS
    assert answers == [("ask", False)]


def test_a_question_that_takes_no_no_ends_its_turn(on: Any, engine: Engine) -> None:
    thread = on(side_by_side(ask=asking("ask", "Where to?", response_schema=Parcel)))
    take_turn(engine, thread, "hi")
    decisions.decide(thread.owner, rows(thread)[0].pk, {"type": "reject", "message": "None of yours"})

    last = perform(engine, thread)

    assert (last.status, last.error_type) == (RunStatus.ERROR, "Unanswerable")
    assert "None of yours" in last.error
    assert answers == []
    assert take_turn(engine, thread, "again").status == RunStatus.WAITING  # the thread is not wedged
    decisions.withdraw(thread.owner, thread.tool_calls.get(state=ToolState.WAITING).pk)
    perform(engine, thread)


def test_a_rule_says_who_answers(on: Any, engine: Engine, rule: Any, bob: User) -> None:
    rule("interrupt")
    thread = on(side_by_side(ask=asking("ask", "Which colour?")))
    take_turn(engine, thread, "hi")
    (question,) = rows(thread)

    with pytest.raises(DecisionRefused):
        decisions.decide(thread.owner, question.pk, {"type": "respond", "message": "red"})
    decisions.decide(bob, question.pk, {"type": "respond", "message": "blue"})
    perform(engine, thread)

    assert answers == [("ask", "blue")]


def test_a_rule_that_comes_later_says_who_answers_from_then_on(
    on: Any, engine: Engine, rule: Any, bob: User
) -> None:
    thread = on(side_by_side(ask=asking("ask", "Which colour?")))
    take_turn(engine, thread, "hi")
    (question,) = rows(thread)
    rule("interrupt")
    requests.look_at_deadlines()

    with pytest.raises(DecisionRefused):
        decisions.decide(thread.owner, question.pk, {"type": "respond", "message": "red"})
    decisions.decide(bob, question.pk, {"type": "respond", "message": "blue"})
    perform(engine, thread)

    assert answers == [("ask", "blue")]


def test_a_question_that_is_allowed_is_still_the_requesters(on: Any, engine: Engine, rule: Any) -> None:
    rule("*", "allow")
    thread = on(side_by_side(ask=asking("ask", "Which colour?")))
    take_turn(engine, thread, "hi")

    decisions.decide(thread.owner, rows(thread)[0].pk, {"type": "respond", "message": "blue"})
    perform(engine, thread)

    assert answers == [("ask", "blue")]


def test_a_question_that_is_denied_gets_a_no_at_once(on: Any, engine: Engine, rule: Any) -> None:
    rule("interrupt", "deny")
    thread = on(side_by_side(ask=asking("ask", "Which colour?")))

    assert take_turn(engine, thread, "hi").status == RunStatus.SUCCESS
    assert answers == [("ask", False)]


# --- several at once, and nested


def test_branches_are_answered_one_by_one_and_make_no_second_row(on: Any, engine: Engine) -> None:
    thread = on(side_by_side(a=asking("a", "One?"), b=asking("b", "Two?")))
    run = take_turn(engine, thread, "hi")
    first, second = named(thread, question="One?"), named(thread, question="Two?")

    decisions.decide(thread.owner, second.pk, {"type": "respond", "message": "2"})
    assert perform(engine, thread).status == RunStatus.WAITING
    assert answers == [("b", "2")]
    assert run.status == RunStatus.WAITING
    decisions.decide(thread.owner, first.pk, {"type": "respond", "message": "1"})
    assert perform(engine, thread).status == RunStatus.SUCCESS

    assert answers == [("b", "2"), ("a", "1")]
    assert len(rows(thread)) == 2


@pytest.mark.parametrize("depth", [1, 2])
def test_a_question_of_a_nested_graph_is_found(on: Any, engine: Engine, depth: int) -> None:
    thread = on(side_by_side(outer=nested(depth, asking("deep", "Anybody?"))))
    assert take_turn(engine, thread, "hi").status == RunStatus.WAITING

    decisions.decide(thread.owner, rows(thread)[0].pk, {"type": "respond", "message": "yes"})

    assert perform(engine, thread).status == RunStatus.SUCCESS
    assert answers == [("deep", "yes")]


def test_gated_calls_and_questions_wait_side_by_side(on: Any, engine: Engine, rule: Any, bob: User) -> None:
    rule("drop")
    thread = on(side_by_side(ask=asking("ask", "Which colour?"), work=asking_graph.dropping()))
    assert take_turn(engine, thread, "hi").status == RunStatus.WAITING
    # The tool's node is a step later than the question: it is reached when that is answered.
    by_kind = {row.kind: row for row in rows(thread)}
    assert set(by_kind) == {CallKind.CALL, CallKind.QUESTION}

    decisions.decide(bob, by_kind["call"].pk, {"type": "approve"})
    assert perform(engine, thread).status == RunStatus.WAITING
    assert effects == {"drop 1": 1}
    decisions.decide(thread.owner, by_kind["question"].pk, {"type": "respond", "message": "blue"})

    assert perform(engine, thread).status == RunStatus.SUCCESS
    assert effects == {"drop 1": 1}
    assert answers == [("ask", "blue")]


def test_a_question_that_reads_differently_by_now_is_asked_anew(on: Any, engine: Engine) -> None:
    count = itertools.count(1)

    def node(state: Any) -> dict[str, Any]:
        return asking("a", f"Number {next(count)}?")(state)  # type: ignore[no-any-return]

    thread = on(side_by_side(a=node, b=asking("b", "Two?")))
    take_turn(engine, thread, "hi")
    decisions.decide(thread.owner, named(thread, question="Two?").pk, {"type": "respond", "message": "2"})
    perform(engine, thread)

    assert named(thread, question="Number 1?").state == ToolState.CANCELLED
    anew = named(thread, question="Number 2?")
    assert anew.state == ToolState.WAITING
    decisions.decide(thread.owner, anew.pk, {"type": "respond", "message": "1"})
    assert perform(engine, thread).status in (RunStatus.SUCCESS, RunStatus.WAITING)


def test_a_question_in_our_own_words_is_a_question_all_the_same(on: Any, engine: Engine) -> None:
    value = {"tool_call_id": "call_1", "tool": "drop", "args": {}}
    thread = on(side_by_side(ask=asking("ask", value)))

    assert take_turn(engine, thread, "hi").status == RunStatus.WAITING
    decisions.decide(thread.owner, rows(thread)[0].pk, {"type": "respond", "message": "yes"})
    perform(engine, thread)

    assert answers == [("ask", "yes")]


@pytest.mark.parametrize(
    "value", ["\x00 \ud800", {"n": float("nan")}, {(1, 2): 3}, "x" * 300_000, {"o": object}, None, []]
)
def test_whatever_is_asked_can_be_kept(on: Any, value: Any) -> None:
    (proposal,) = questions.proposals(Interrupt(value, id="i"))

    assert ledger.canonical(proposal.args)
    thread = on(side_by_side(ask=asking("ask", "Which colour?")))
    run = Run.objects.create(thread=thread, assistant=thread.assistant, user=thread.owner, status="waiting")
    row, _ = ledger.found_or_made(run, proposal)
    row.refresh_from_db()
    assert row.state == ToolState.WAITING
    assert len(str(row.args)) < 300_000


def test_a_worker_that_dies_before_anybody_was_asked_asks_at_its_next_attempt(
    on: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = on(side_by_side(ask=asking("ask", "Which colour?")))
    settle = interrupts.settle

    def die(context: Any, pending: Any) -> Any:
        raise LeaseLost(run_id=context.run.pk)

    monkeypatch.setattr(interrupts, "settle", die)
    run = runs.send_message(thread, thread.owner, "hi")
    engine.perform(str(run.pk))
    assert rows(thread) == []
    monkeypatch.setattr(interrupts, "settle", settle)
    Run.objects.filter(pk=run.pk).update(status="pending", lease_expires_at=None)
    engine.perform(str(run.pk))

    run.refresh_from_db()
    assert (run.status, len(rows(thread))) == (RunStatus.WAITING, 1)
    decisions.withdraw(thread.owner, rows(thread)[0].pk)
    perform(engine, thread)


def test_a_graph_with_breakpoints_is_refused(on: Any, engine: Engine) -> None:
    run = take_turn(engine, on(asking_graph.with_breakpoint()), "hi")

    assert run.status == RunStatus.ERROR
    assert "interrupt_before" in run.error
