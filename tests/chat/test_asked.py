"""The requester sees on the card which group decides, since when and until when; and no names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from runtime.models import Run

from apps.approvals.models import ApprovalRequest, PolicyRule
from tests.support.calls import proposed_by

ARGS = {"order_number": 1042, "amount": "59.90", "reason": "broken"}


@pytest.fixture
def approval(alice, bob, thread):
    rule = PolicyRule.objects.create(
        name="all wait", verdict="ask", approvers=bob.groups.get(), expires_after=30
    )
    run = Run.objects.create(
        thread=thread, assistant=thread.assistant, user=alice, status="waiting", input={}
    )
    call = proposed_by(run, args=ARGS, sensitive=True)
    assert call.advance("waiting", policy=rule.name)
    return call.approval_requests.get()


def shown(client, thread):
    return client.get(reverse("chat-thread", args=[thread.pk])).content.decode()


def test_the_card_says_who_decides_since_when_and_until_when(alice, thread, approval, signed_in):
    html = shown(signed_in(alice), thread)

    assert "Members of Approvers decide." in html
    assert f'<time datetime="{approval.created_at.isoformat()}"' in html
    assert f'<time datetime="{(approval.created_at + timedelta(minutes=30)).isoformat()}"' in html
    assert "js/ago.js" in html
    assert "bob" not in html


def test_a_stranger_does_not_learn_it(carol, thread, approval, signed_in):
    answer = signed_in(carol).get(reverse("chat-thread", args=[thread.pk]))

    assert answer.status_code == 404
    assert "Members of" not in answer.content.decode()


def test_it_is_gone_with_the_question(alice, thread, approval, signed_in):
    ApprovalRequest.objects.update(status="expired")
    approval.tool_call.advance("expired")

    html = shown(signed_in(alice), thread)

    assert "refund_order" in html
    assert "Members of" not in html


def test_a_group_that_is_gone_is_said(alice, thread, approval, signed_in):
    ApprovalRequest.objects.update(approvers=None)

    assert "The group that decides is gone." in shown(signed_in(alice), thread)


def test_without_a_decision_service_the_card_says_less(alice, thread, approval, signed_in, settings):
    settings.COUNTERSIGN_DECISIONS = None

    html = shown(signed_in(alice), thread)

    assert "refund_order" in html
    assert "Members of" not in html
