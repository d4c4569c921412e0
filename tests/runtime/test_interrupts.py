"""Interrupts of any graph, through the engine: several at once, nested, odd, and in a crash."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from accounts.models import User
from langgraph.types import Interrupt
from runtime import decisions, interrupts, ledger, questions, runs
from runtime.engine import Engine
from runtime.exceptions import LeaseLost
from runtime.models import CallKind, Run, RunStatus, ToolState

from tests.support import asking_graph
from tests.support.asking import named, perform, rows
from tests.support.asking_graph import answers, asking, effects, nested, side_by_side
from tests.support.engines import take_turn

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_wrong_afterwards"),
]


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
