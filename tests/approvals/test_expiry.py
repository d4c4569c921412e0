"""Requests that nobody has decided on in time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from runtime import decisions as port
from runtime import runs
from runtime.exceptions import AlreadyDecided
from runtime.models import Run, ToolState

from apps.approvals import requests
from apps.approvals.models import ApprovalRequest, PolicyRule, RequestStatus
from tests.approvals.conftest import QUEUE, fresh, page_of, post


@pytest.fixture
def short(rule):
    """The rule with a deadline."""
    rule.expires_after = 30
    rule.save()
    return rule


def let_expire(approval):
    ApprovalRequest.objects.filter(pk=approval.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def resumes(approval):
    return Run.objects.filter(thread=approval.tool_call.thread_id, command__isnull=False).count()


def test_a_request_expires_when_its_rule_says(alice, waiting, short):
    approval = waiting(alice)

    assert approval.expires_at - approval.created_at == timedelta(minutes=30)


def test_a_request_of_a_rule_without_a_deadline_waits_for_ever(alice, waiting):
    approval = waiting(alice)

    requests.look_at_deadlines()
    assert approval.expires_at is None
    assert fresh(approval).is_pending


def test_what_became_of_a_call_is_asked_without_a_deadline(alice, cut_off, short):
    assert cut_off(alice).expires_at is None


def test_an_expired_call_does_not_run_and_its_turn_goes_on(alice, waiting, short):
    approval = waiting(alice)
    let_expire(approval)

    runs.reconcile()

    approval = fresh(approval)
    assert (approval.status, approval.tool_call.state) == (RequestStatus.EXPIRED, ToolState.EXPIRED)
    assert approval.decided_by is None
    assert resumes(approval) == 1
    requests.look_at_deadlines()
    assert resumes(approval) == 1


@pytest.mark.parametrize("kind", ["approve", "reject", "respond"])
def test_a_decision_that_comes_late_is_refused_before_anybody_looked_at_the_clock(
    alice, bob, waiting, short, signed_in, kind
):
    approval = waiting(alice)
    let_expire(approval)

    answer = post(signed_in(bob), approval, kind, reason="no", answer="yes")

    assert answer.status_code == 409
    assert "expired at" in answer.content.decode()
    assert fresh(approval).tool_call.state == ToolState.WAITING
    assert resumes(approval) == 0


def test_a_decision_in_time_counts_however_late_the_look_is(alice, bob, waiting, short):
    approval = waiting(alice)
    port.decide(bob, approval.tool_call_id, {"type": "approve"})
    let_expire(approval)

    requests.look_at_deadlines()
    assert fresh(approval).tool_call.state == ToolState.APPROVED


def test_a_late_decision_on_an_expired_request_says_so(alice, bob, waiting, short):
    approval = waiting(alice)
    let_expire(approval)
    requests.look_at_deadlines()

    with pytest.raises(AlreadyDecided, match="expired"):
        port.decide(bob, approval.tool_call_id, {"type": "approve"})


def test_the_queue_and_the_page_say_how_long_it_may_wait(alice, bob, waiting, short, signed_in):
    approval = waiting(alice)
    client = signed_in(bob)

    assert "29\xa0minutes</time>" in client.get(QUEUE).content.decode()
    assert "expires in 29\xa0minutes" in client.get(page_of(approval)).content.decode()
    let_expire(approval)
    assert "expired</time>" in client.get(page_of(approval)).content.decode()


def test_a_rule_says_its_deadline_in_its_sentence(short):
    assert "at most 30 minutes" in short.meaning
    assert "at most" not in PolicyRule(name="n", verdict="ask", approvers=short.approvers).meaning
