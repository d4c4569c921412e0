"""A decision is bound to what its rule said, and to what the rule lets people do."""

from __future__ import annotations

import pytest
from runtime import decisions, runs
from runtime.exceptions import AlreadyDecided, DecisionRefused, InvalidDecision
from runtime.models import ToolState

from apps.approvals import policy
from apps.approvals.models import (
    ApprovalRequest,
    Condition,
    EditBound,
    PolicyRule,
    RequestStatus,
    Way,
)
from tests.approvals.conftest import REFUND, edited, fresh, page_of, post


def test_a_rule_that_changes_has_its_questions_asked_anew(alice, bob, rule, waiting):
    approval = waiting(alice)
    rule.needs_reason = True
    rule.save()
    with pytest.raises(AlreadyDecided, match="policy has changed"):
        decisions.decide(bob, approval.tool_call_id, {"type": "approve", "message": "fine"})

    runs.reconcile()

    assert fresh(approval).status == RequestStatus.SUPERSEDED
    anew = ApprovalRequest.objects.get(status=RequestStatus.PENDING)
    assert anew.version.number == 2
    with pytest.raises(InvalidDecision, match="wants a reason"):
        decisions.decide(bob, anew.tool_call_id, {"type": "approve"})
    assert (
        decisions.decide(bob, anew.tool_call_id, {"type": "approve", "message": "fine"}).state == "approved"
    )


def test_a_rule_that_is_gone_leaves_the_question_open(alice, bob, rule, waiting):
    approval = waiting(alice)
    rule.is_enabled = False
    rule.save()

    runs.reconcile()

    assert fresh(approval).is_pending
    assert fresh(approval).version is None
    call = decisions.decide(bob, approval.tool_call_id, {"type": "approve"})
    assert policy.objection(call)  # without a rule a sensitive tool does not run


def test_a_rule_that_comes_back_asks_again(alice, bob, rule, waiting):
    approval = waiting(alice)
    for is_enabled in (False, True):
        rule.is_enabled = is_enabled
        rule.save()
        runs.reconcile()

    assert fresh(approval).status == RequestStatus.SUPERSEDED
    anew = ApprovalRequest.objects.get(status=RequestStatus.PENDING)
    assert decisions.decide(bob, anew.tool_call_id, {"type": "approve"}).state == ToolState.APPROVED


def test_only_the_decisions_the_policy_allows(alice, bob, rule, waiting, signed_in):
    rule.decisions = ["approve", "reject"]
    rule.save()
    approval = waiting(alice)
    content = signed_in(bob).get(page_of(approval)).content.decode()

    assert 'value="approve"' in content
    assert 'value="respond"' not in content
    assert 'value="edit"' not in content
    assert post(signed_in(bob), approval, "respond", answer="done").status_code == 422
    assert fresh(approval).is_pending


@pytest.fixture
def big(rule, finance, frank):
    """More than 100 is for Finance."""
    big = PolicyRule.objects.create(
        name="big", tool="refund_order", verdict="ask", approvers=finance, priority=10
    )
    Condition.objects.create(rule=big, argument="amount", operator="more than", value="100")
    return big


def test_an_edit_that_another_rule_is_about_is_asked_by_that_rule(alice, bob, frank, big, waiting):
    approval = waiting(alice)
    args = {**REFUND, "amount": "500"}

    call = decisions.decide(bob, approval.tool_call_id, {"type": "edit", "args": args})

    assert call.state == ToolState.WAITING
    assert call.args == args
    assert fresh(approval).status == RequestStatus.SUPERSEDED
    anew = ApprovalRequest.objects.get(status=RequestStatus.PENDING)
    assert anew.approvers == big.approvers
    with pytest.raises(DecisionRefused):
        decisions.decide(bob, call.pk, {"type": "approve"})
    call = decisions.decide(frank, call.pk, {"type": "approve"})
    assert call.state == ToolState.APPROVED
    assert policy.objection(call) == ""


def test_an_edit_by_who_may_decide_under_both_rules_is_one_decision(alice, bob, big, waiting):
    bob.groups.add(big.approvers)

    call = decisions.decide(
        bob, waiting(alice).tool_call_id, {"type": "edit", "args": {**REFUND, "amount": "500"}}
    )

    assert call.state == ToolState.APPROVED
    assert ApprovalRequest.objects.get(status=RequestStatus.APPROVED).rule == big


def test_an_edit_keeps_within_the_bounds(alice, bob, rule, waiting, signed_in):
    EditBound.objects.create(rule=rule, argument="amount", operator="at most", value="60")
    approval = waiting(alice)
    client = signed_in(bob)

    for wrong in ({"amount": "60.01"}, {"order_number": "1043"}, {"reason": "other"}):
        assert post(client, approval, "edit", **edited(**wrong)).status_code == 422
        assert fresh(approval).is_pending
    assert post(client, approval, "edit", **edited(amount="60")).status_code == 302
    assert fresh(approval).tool_call.args["amount"] == "60"


def test_the_requester_confirms_where_the_policy_lets_them(alice, carol, rule, waiting):
    rule.requester_confirms = True
    rule.save()
    approval = waiting(alice)

    with pytest.raises(DecisionRefused):
        decisions.decide(carol, approval.tool_call_id, {"type": "approve"})
    call = decisions.decide(alice, approval.tool_call_id, {"type": "approve"})

    assert fresh(approval).via == Way.CONFIRM
    assert policy.objection(call) == ""
    rule.requester_confirms = False
    rule.save()
    assert policy.objection(call)
