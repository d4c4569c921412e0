from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from runtime import decisions

from apps.approvals import policy
from apps.approvals.models import PolicyRule
from apps.approvals.permissions import may_override, objection_to


def add_rule(verdict, *, tool="*", assistant="*", priority=100, **fields):
    name = f"{verdict} {tool} {assistant} {priority}"
    return PolicyRule.objects.create(
        name=name, verdict=verdict, tool=tool, assistant=assistant, priority=priority, **fields
    )


@pytest.fixture
def approvers(bob):
    return Group.objects.get(name="Approvers")


def test_it_denies_a_sensitive_tool_without_a_rule(alice, proposed):
    assert policy.judge(proposed(alice)).kind == "deny"


def test_it_allows_a_harmless_tool_without_a_rule(alice, proposed):
    assert policy.judge(proposed(alice, sensitive=False)).kind == "allow"


def test_a_deny_wins_over_every_priority(alice, proposed, approvers):
    add_rule("allow", tool="refund_order", priority=1)
    add_rule("ask", tool="refund_order", priority=2, approvers=approvers)
    add_rule("deny", tool="refund*", priority=900)

    assert policy.judge(proposed(alice)).kind == "deny"


def test_the_lowest_priority_number_counts(alice, proposed, approvers):
    add_rule("allow", priority=50)
    add_rule("ask", priority=10, approvers=approvers)

    assert policy.judge(proposed(alice)).kind == "ask"


@pytest.mark.parametrize(
    ("tool", "graph", "verdict"),
    [
        ("refund_order", "*", "allow"),
        ("refund_*", "shop", "allow"),
        ("*", "sh?p", "allow"),
        ("Refund_order", "*", "deny"),
        ("refund", "*", "deny"),
        ("*", "other", "deny"),
    ],
)
def test_it_matches_whole_names_by_pattern(alice, proposed, tool, graph, verdict):
    add_rule("allow", tool=tool, assistant=graph)

    assert policy.judge(proposed(alice)).kind == verdict


def test_a_rule_that_is_switched_off_is_absent(alice, proposed):
    add_rule("allow", is_enabled=False)

    assert policy.judge(proposed(alice)).kind == "deny"


def test_nothing_is_asked_of_nobody(alice, bob, proposed):
    rule = add_rule("ask")
    verdict = policy.judge(proposed(alice))
    assert verdict.kind == "deny"
    assert "Too few people" in verdict.reason

    rule.approvers = Group.objects.get(name="Approvers")
    rule.save()
    assert policy.judge(proposed(alice)).kind == "ask"
    assert policy.judge(proposed(bob)).kind == "deny"  # who asks does not count
    rule.quorum = 2
    rule.save()
    assert policy.judge(proposed(alice)).kind == "deny"


def test_a_request_whose_group_is_gone_is_for_whoever_breaks_the_glass(alice, bob, admin, waiting):
    request = waiting(alice)
    PolicyRule.objects.all().delete()
    Group.objects.get(name="Approvers").delete()
    request.refresh_from_db()

    assert objection_to(bob, request)
    assert "a group that is gone" in objection_to(admin, request)
    assert may_override(admin, request)
    assert not may_override(bob, request)


def test_an_approval_does_not_outlive_its_approver(alice, bob, waiting):
    call = decisions.decide(bob, waiting(alice).tool_call_id, {"type": "approve"})
    assert policy.objection(call) == ""

    bob.is_active = False
    bob.save()

    assert "switched off" in policy.objection(call)


def test_an_approval_does_not_outlive_a_deny(alice, bob, waiting):
    call = decisions.decide(bob, waiting(alice).tool_call_id, {"type": "approve"})
    assert policy.objection(call) == ""
    add_rule("deny")

    assert "denies this tool" in policy.objection(call)


def test_an_approval_does_not_outlive_its_groups_turn(alice, bob, rule_for_all, person):
    """Once the rule names another group, that group is asked, and its word counts."""
    request, rule = rule_for_all
    call = request.tool_call
    decisions.decide(bob, call.pk, {"type": "approve"})
    finance = Group.objects.create(name="Finance")
    finance.permissions.set(Permission.objects.filter(codename="decide"))
    rule.approvers = finance
    rule.save()
    assert "the policy has changed" in policy.objection(call)

    call.advance("waiting")
    frank = person("frank", "Finance", staff=True)
    decisions.decide(frank, call.pk, {"type": "approve"})

    assert policy.objection(call) == ""


@pytest.fixture
def rule_for_all(alice, waiting, rule):
    return waiting(alice), rule
