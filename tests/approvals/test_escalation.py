"""Reminders, and what becomes of what nobody decides on in time: the next group is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from runtime import decisions, runs

from apps.approvals import policy, requests
from apps.approvals.models import (
    PolicyRule,
    RequestStatus,
)
from apps.approvals.permissions import objection_to
from tests.approvals.conftest import fresh, pass_by


@pytest.fixture
def escalating(rule, finance, frank):
    PolicyRule.objects.filter(pk=rule.pk).update(
        expires_after=60, remind_after=30, on_expiry="escalate", escalate_to=finance
    )
    rule.refresh_from_db()
    return rule


def test_what_expires_is_asked_of_the_next_group_and_then_expires(
    alice, bob, frank, escalating, waiting, finance
):
    approval = waiting(alice)
    assert objection_to(frank, approval)
    pass_by(approval, "expires_at")

    runs.reconcile()

    approval = fresh(approval)
    assert approval.is_pending
    assert approval.approvers == finance
    assert approval.expires_at > timezone.now()
    assert "Finance" in objection_to(bob, approval)
    assert objection_to(frank, approval) == ""
    pass_by(approval, "expires_at")
    runs.reconcile()
    assert fresh(approval).status == RequestStatus.EXPIRED
    assert approval.tool_call.run.resumed_by.count() == 1


def test_the_escalated_group_decides(alice, frank, escalating, waiting):
    approval = waiting(alice)
    pass_by(approval, "expires_at")
    requests.look_at_deadlines()

    call = decisions.decide(frank, approval.tool_call_id, {"type": "approve"})

    assert policy.objection(call) == ""


def test_it_is_not_escalated_to_nobody(alice, escalating, waiting, frank):
    approval = waiting(alice)
    frank.is_active = False
    frank.save()
    pass_by(approval, "expires_at")

    requests.look_at_deadlines()

    assert fresh(approval).status == RequestStatus.EXPIRED


def test_a_reminder_is_given_once(alice, escalating, waiting):
    approval = waiting(alice)
    assert approval.remind_at - approval.created_at == timedelta(minutes=30)
    pass_by(approval, "remind_at")

    requests.look_at_deadlines()

    assert fresh(approval).remind_at is None
    assert fresh(approval).is_pending
