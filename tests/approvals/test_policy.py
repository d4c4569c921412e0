from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from runtime import decisions

from apps.approvals import policy
from apps.approvals.models import PolicyRule


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


def test_a_request_whose_group_is_gone_is_for_superusers(alice, bob, admin, waiting):
    from apps.approvals.permissions import objection_to

    request = waiting(alice)
    PolicyRule.objects.all().delete()
    Group.objects.get(name="Approvers").delete()
    request.refresh_from_db()

    assert objection_to(bob, request)
    assert objection_to(admin, request) == ""


def test_an_approval_does_not_outlive_its_approver(alice, bob, waiting):
    request = waiting(alice)
    call = request.tool_call
    request.close("approved", decided_by=bob)
    call.advance("approved", decided_by=bob)
    assert policy.objection(call) == ""

    bob.is_active = False
    bob.save()

    assert policy.objection(call)


def test_an_approval_does_not_outlive_a_deny(alice, bob, waiting):
    request = waiting(alice)
    request.close("approved", decided_by=bob)
    add_rule("deny")

    assert policy.objection(request.tool_call)


def test_an_approval_does_not_outlive_its_groups_turn(alice, bob, rule_for_all, person):
    """Once the rule names another group, that group is asked, and its word counts."""
    request, rule = rule_for_all
    call = request.tool_call
    decisions.decide(bob, call.pk, {"type": "approve"})
    finance = Group.objects.create(name="Finance")
    finance.permissions.set(Permission.objects.filter(codename="decide"))
    rule.approvers = finance
    rule.save()
    assert "Finance" in policy.objection(call)

    call.advance("waiting")
    frank = person("frank", "Finance", staff=True)
    decisions.decide(frank, call.pk, {"type": "approve"})

    assert policy.objection(call) == ""


@pytest.fixture
def rule_for_all(alice, waiting, rule):
    return waiting(alice), rule
