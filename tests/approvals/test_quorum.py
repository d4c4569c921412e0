"""Several people have to approve the same arguments, each of them once."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from runtime import decisions
from runtime.exceptions import AlreadyDecided, DecisionRefused
from runtime.models import ToolState

from apps.approvals import policy
from apps.approvals.models import RequestStatus
from tests.approvals.conftest import REFUND, edited, fresh, page_of, post
from tests.support.threads import together


@pytest.fixture
def two(rule, ben):
    rule.quorum = 2
    rule.save()
    return rule


@pytest.fixture
def request_for_two(two, alice, waiting):
    return waiting(alice)


def test_the_call_waits_until_the_last_of_them(request_for_two, bob, ben, signed_in):
    answer = post(signed_in(bob), request_for_two, "approve")

    assert answer.status_code == 302
    assert fresh(request_for_two).is_pending
    assert request_for_two.tool_call.run.resumed_by.count() == 0
    assert "1 of 2 approvals" in signed_in(ben).get(page_of(request_for_two)).content.decode()
    assert "You have approved it" in signed_in(bob).get(page_of(request_for_two)).content.decode()

    post(signed_in(ben), request_for_two, "approve")

    approval = fresh(request_for_two)
    assert approval.status == RequestStatus.APPROVED
    assert approval.tool_call.state == ToolState.APPROVED
    assert approval.tool_call.run.resumed_by.count() == 1
    assert policy.objection(approval.tool_call) == ""


def test_nobody_counts_twice(request_for_two, bob, signed_in):
    post(signed_in(bob), request_for_two, "approve")

    answer = post(signed_in(bob), request_for_two, "approve")

    assert answer.status_code == 409
    assert "has approved this already" in answer.content.decode()
    assert fresh(request_for_two).is_pending


def test_one_rejection_is_enough_even_by_who_had_approved(request_for_two, bob):
    decisions.decide(bob, request_for_two.tool_call_id, {"type": "approve"})

    call = decisions.decide(bob, request_for_two.tool_call_id, {"type": "reject", "message": "No."})

    assert call.state == ToolState.REJECTED
    assert fresh(request_for_two).status == RequestStatus.REJECTED


def test_what_is_edited_is_approved_anew(request_for_two, bob, ben, signed_in):
    decisions.decide(bob, request_for_two.tool_call_id, {"type": "approve"})
    post(signed_in(ben), request_for_two, "edit", **edited(amount="10"))
    approval = fresh(request_for_two)
    assert approval.is_pending
    assert approval.tool_call.args["amount"] == "10"

    assert post(signed_in(bob), request_for_two, "approve").status_code == 409  # the digest bob saw
    call = decisions.decide(bob, approval.tool_call_id, {"type": "approve"})

    assert call.state == ToolState.APPROVED
    assert call.args == {**REFUND, "amount": "10"}
    assert policy.objection(call) == ""


def test_a_vote_of_somebody_switched_off_no_longer_counts(request_for_two, bob, ben):
    for person in (bob, ben):
        call = decisions.decide(person, request_for_two.tool_call_id, {"type": "approve"})
    bob.is_active = False
    bob.save()

    assert "bob: the account is switched off" in policy.objection(call)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("threads_closed")
def test_the_last_two_at_once_make_one_decision(two, alice, bob, ben, waiting):
    for _ in range(10):
        approval = waiting(alice)
        barrier, said = threading.Barrier(2, timeout=30), []

        def decide(user, approval=approval, barrier=barrier, said=said):
            barrier.wait()
            said.append(decisions.decide(user, approval.tool_call_id, {"type": "approve"}).state)

        assert together(partial(decide, bob), partial(decide, ben)) == []
        assert sorted(said) == [ToolState.APPROVED, ToolState.WAITING]
        assert fresh(approval).status == RequestStatus.APPROVED
        assert approval.tool_call.run.resumed_by.count() == 1


def test_the_requester_is_none_of_them(two, bob, ben, person, waiting):
    erin = person("erin", "Approvers", staff=True)
    approval = waiting(erin)

    with pytest.raises(DecisionRefused):
        decisions.decide(erin, approval.tool_call_id, {"type": "approve"})
    decisions.decide(bob, approval.tool_call_id, {"type": "approve"})
    decisions.decide(ben, approval.tool_call_id, {"type": "approve"})
    with pytest.raises(AlreadyDecided):
        decisions.decide(ben, approval.tool_call_id, {"type": "approve"})
