"""Questions of a graph, through the engine: who may answer, and what the graph gets."""

from __future__ import annotations

from typing import Any

import pytest
from accounts.models import User
from runtime import decisions
from runtime.engine import Engine
from runtime.exceptions import DecisionRefused, InvalidDecision
from runtime.models import CallKind, RunStatus, ToolState

from apps.approvals import requests
from tests.support.asking import perform, rows
from tests.support.asking_graph import Parcel, answers, asking, side_by_side
from tests.support.engines import take_turn

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_wrong_afterwards"),
]


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
