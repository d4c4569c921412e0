"""Which rule a call meets: with conditions, facts beyond the arguments, and rules that can't be read."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from runtime import policy
from runtime.models import ToolCall

from apps.approvals import facts
from apps.approvals.matching import matching_rule
from apps.approvals.models import Condition, PolicyRule


def add_rule(
    verdict: str, *conditions: tuple[str, str, str], name: str = "rule", **fields: Any
) -> PolicyRule:
    rule = PolicyRule.objects.create(name=name, verdict=verdict, **fields)
    for argument, operator, value in conditions:
        Condition.objects.create(rule=rule, argument=argument, operator=operator, value=value)
    return rule


@pytest.fixture
def ran(proposed):
    """A call that ran some hours ago."""

    def make(user, args, *, hours=1, **fields):
        started = timezone.now() - timedelta(hours=hours)
        return proposed(user, args=args, state="done", started_at=started, **fields)

    return make


def test_a_rule_is_about_a_call_only_if_all_its_conditions_hold(alice, proposed):
    add_rule("allow", ("amount", "at most", "100"), ("reason", "is", "broken"))

    assert matching_rule(proposed(alice)) is not None
    assert matching_rule(proposed(alice, args={"amount": "100.01", "reason": "broken"})) is None
    assert matching_rule(proposed(alice, args={"amount": "5", "reason": "late"})) is None


def test_a_denying_rule_whose_condition_fails_does_not_win(alice, proposed):
    add_rule("deny", ("amount", "more than", "100"), name="no")
    add_rule("allow", name="yes", priority=900)

    assert policy.judge(proposed(alice)).kind == "allow"
    assert policy.judge(proposed(alice, args={"amount": "1e3"})).kind == "deny"


def test_what_can_not_be_told_meets_a_rule_that_asks_and_none_that_allows(alice, proposed):
    add_rule("allow", ("amount", "at most", "100"), name="small", priority=1)
    add_rule("ask", ("amount", "more than", "100"), name="big")

    assert matching_rule(proposed(alice, args={"amount": "50"})).name == "small"
    assert matching_rule(proposed(alice, args={"amount": "a lot"})).name == "big"
    assert matching_rule(proposed(alice, args={})).name == "big"


@pytest.mark.parametrize(
    "row", [("amount", "more than", "much"), ("requester.age", "is", "3"), ("amount", "resembles", "3")]
)
def test_a_rule_that_can_not_be_read_fails_closed(alice, proposed, row, caplog):
    caplog.set_level(logging.ERROR)
    rule = add_rule("allow", row, ("amount", "at most", "1000"))
    assert matching_rule(proposed(alice)) is None

    for verdict in ("ask", "deny"):
        PolicyRule.objects.update(verdict=verdict)
        assert matching_rule(proposed(alice)) == rule
    assert [record.action for record in caplog.records] == ["rule_unreadable"] * 3


def test_groups_of_the_requester(alice, carol, proposed):
    Group.objects.create(name="Finance").user_set.add(carol)
    rule = add_rule("allow", ("requester.group", "one of", "Finance, Board"))

    assert matching_rule(proposed(carol)) == rule
    assert matching_rule(proposed(alice)) is None

    rule.conditions.update(operator="none of")
    assert matching_rule(proposed(carol)) is None
    assert matching_rule(proposed(alice)) == rule


def test_only_in_office_hours(alice, proposed, monkeypatch):
    rule = add_rule("allow", ("time.hour", "at least", "8"), ("time.hour", "less than", "18"))

    def at(hour: int) -> PolicyRule | None:
        moment = timezone.now().replace(hour=hour)
        monkeypatch.setattr("apps.approvals.facts.timezone.now", lambda: moment)
        return matching_rule(proposed(alice))

    assert at(8) == rule
    assert at(17) == rule
    assert at(7) is None
    assert at(18) is None


def test_ten_payments_of_a_hundred_meet_the_rule_of_a_thousand(alice, carol, proposed, ran):
    rule = add_rule("ask", ("sum.amount.today", "at least", "1000"))
    for _ in range(8):
        ran(alice, {"amount": "100"})
    ran(alice, {"amount": 100}, hours=25)
    ran(carol, {"amount": 100})
    ran(alice, {"amount": 100}, tool="other")
    proposed(alice, args={"amount": 100}, state="rejected")

    assert matching_rule(proposed(alice, args={"amount": 100})) is None
    proposed(alice, args={"amount": 100}, state="approved")
    assert matching_rule(proposed(alice, args={"amount": 100})) == rule


def test_a_negative_amount_takes_nothing_off_a_sum(alice, proposed, ran):
    rule = add_rule("ask", ("sum.amount.today", "more than", "100"))
    ran(alice, {"amount": "-5000"})

    assert matching_rule(proposed(alice, args={"amount": "101"})) == rule


@pytest.mark.parametrize("verdict", ["ask", "allow"])
def test_a_sum_that_can_not_be_told_is_the_riskier_answer(alice, proposed, ran, verdict):
    operator = "more than" if verdict == "ask" else "at most"
    add_rule(verdict, ("sum.amount.today", operator, "100"))
    ran(alice, {"amount": "some"})

    assert (matching_rule(proposed(alice, args={"amount": 1})) is not None) == (verdict == "ask")


def test_a_sum_of_too_many_calls_can_not_be_told(alice, proposed, ran, monkeypatch):
    monkeypatch.setattr(facts, "CALLS_READ", 2)
    add_rule("allow", ("sum.amount.today", "at most", "100"))
    for _ in range(3):
        ran(alice, {"amount": 1})

    assert matching_rule(proposed(alice, args={"amount": 1})) is None


def test_how_often_a_tool_ran(alice, proposed, ran):
    rule = add_rule("deny", ("calls.today", "at least", "2"))
    ran(alice, {})
    assert matching_rule(proposed(alice)) is None

    ran(alice, {}, hours=23)
    assert matching_rule(proposed(alice)) == rule


@pytest.mark.django_db(transaction=True)
def test_of_calls_judged_at_once_each_sees_the_other(alice, proposed, threads_closed):
    """Without a lock both would find an empty day, and both would pass."""
    add_rule("deny", ("sum.amount.today", "more than", "100"), name="no")
    add_rule("allow", name="yes")
    calls = [proposed(alice, args={"amount": 60}) for _ in range(4)]

    def judge(call: ToolCall) -> str:
        try:
            with transaction.atomic():
                kind = policy.judge(call).kind
                call.advance("approved" if kind == "allow" else "denied")
                return kind
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        verdicts = list(pool.map(judge, calls))

    assert sorted(verdicts) == ["allow", "deny", "deny", "deny"]


def test_a_thousand_rules_take_as_many_queries_as_one(alice, proposed):
    def queries() -> int:
        call = ToolCall.objects.select_related("assistant").get(pk=proposed(alice).pk)
        with CaptureQueriesContext(connection) as captured:
            matching_rule(call)
        return len(captured)

    row = ("amount", "more than", "100000")
    add_rule("ask", row)
    few = queries()
    rules = [PolicyRule(name=f"r{n}", verdict="ask", priority=n) for n in range(1000)]
    PolicyRule.objects.bulk_create(rules)
    Condition.objects.bulk_create(
        Condition(rule=rule, argument=row[0], operator=row[1], value=row[2]) for rule in rules
    )

    assert queries() == few == 1


def test_facts_are_looked_up_once_and_only_when_asked_for(alice, proposed):
    call = ToolCall.objects.select_related("assistant", "user").get(pk=proposed(alice).pk)
    for n in range(5):
        add_rule(
            "ask", ("sum.amount.today", "more than", "1000"), ("calls.today", "more than", "9"), name=f"{n}"
        )
    with CaptureQueriesContext(connection) as captured:
        matching_rule(call)

    assert len(captured) == 3  # the rules, the turn, the calls


def test_the_sum_is_exact(alice, proposed, ran):
    ran(alice, {"amount": "0.1"})
    ran(alice, {"amount": 0.2})

    assert facts.Facts(proposed(alice, args={"amount": "0.0000001"})).total("amount") == Decimal("0.3000001")
