"""A delegate decides in the place of who is away, and no further."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from runtime import decisions
from runtime.exceptions import AlreadyDecided, DecisionRefused

from apps.approvals import policy
from apps.approvals.models import (
    Delegation,
    Vote,
    Way,
)
from apps.approvals.permissions import decidable, objection_to
from tests.approvals.conftest import fresh, page_of, post


def test_a_delegate_decides_in_the_place_of_who_is_away(alice, frank, bob, away, waiting, signed_in):
    approval = waiting(alice)
    assert decidable(frank).count() == 1

    assert post(signed_in(frank), approval, "approve").status_code == 302

    vote = Vote.objects.get()
    assert (vote.voter, vote.principal, vote.via) == (frank, bob, Way.DELEGATE)
    assert policy.objection(fresh(approval).tool_call) == ""
    assert "in place of bob" in signed_in(bob).get(page_of(approval)).content.decode()


@pytest.mark.parametrize("change", ["past", "to come", "ended early", "delegator off", "delegator left"])
def test_a_delegation_holds_only_while_it_is_in_force(alice, frank, bob, away, waiting, change):
    approval = waiting(alice)
    now = timezone.now()
    match change:
        case "past":
            away.starts_at, away.ends_at = now - timedelta(days=2), now - timedelta(days=1)
        case "to come":
            away.starts_at, away.ends_at = now + timedelta(days=1), now + timedelta(days=2)
        case "ended early":
            away.revoked_at = now
        case "delegator off":
            bob.is_active = False
            bob.save()
        case "delegator left":
            bob.groups.clear()
    away.save()

    assert objection_to(frank, approval)
    assert decidable(frank).count() == 0
    with pytest.raises(DecisionRefused):
        decisions.decide(frank, approval.tool_call_id, {"type": "approve"})


def test_a_delegate_never_decides_for_the_requester(frank, bob, away, ben, waiting):
    own = waiting(bob)
    assert objection_to(frank, own)
    assert decidable(frank).count() == 0


def test_who_is_no_approver_becomes_none_by_delegation(alice, bob, carol, waiting):
    now = timezone.now()
    Delegation.objects.create(delegator=bob, delegate=carol, starts_at=now, ends_at=now + timedelta(days=1))
    assert "permission to decide" in objection_to(carol, waiting(alice))


def test_two_half_votes_of_one_right_count_once(alice, frank, bob, ben, away, rule, waiting):
    rule.quorum = 2
    rule.save()
    approval = waiting(alice)
    decisions.decide(frank, approval.tool_call_id, {"type": "approve"})

    with pytest.raises(AlreadyDecided, match="frank has approved"):
        decisions.decide(bob, approval.tool_call_id, {"type": "approve"})
    assert fresh(approval).is_pending


def test_people_delegate_their_own_right_in_the_admin(bob, frank, carol, signed_in):
    now = timezone.localtime()
    fields = {"delegate": frank.pk, "reason": "leave"}
    for name, moment in {"starts_at": now, "ends_at": now + timedelta(days=3)}.items():
        fields |= {f"{name}_0": moment.date().isoformat(), f"{name}_1": moment.time().isoformat("seconds")}

    answer = signed_in(bob).post("/admin/approvals/delegation/add/", fields)

    assert answer.status_code == 302, answer.context["errors"]
    made = Delegation.objects.get()
    assert (made.delegator, made.delegate) == (bob, frank)
    signed_in(bob).post(
        "/admin/approvals/delegation/", {"action": "end", "_selected_action": [made.pk]}, follow=True
    )
    made.refresh_from_db()
    assert made.revoked_at
    too_long = {**fields, "ends_at_0": (now + timedelta(days=60)).date().isoformat()}
    answer = signed_in(bob).post("/admin/approvals/delegation/add/", too_long)
    assert "At most 30 days" in answer.content.decode()
    assert signed_in(carol).get("/admin/approvals/delegation/").status_code == 302
