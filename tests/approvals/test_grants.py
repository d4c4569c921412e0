"""Calls like one that was approved run without a person: so many, so long, as long as its giver may."""

from __future__ import annotations

import pytest
from accounts import roles
from django.utils import timezone
from runtime.exceptions import AlreadyDecided

from apps.approvals import grants, policy
from apps.approvals.models import (
    Grant,
    PolicyRule,
    RequestStatus,
)
from tests.approvals.conftest import QUEUE, REFUND, fresh, page_of


def allow(client, approval, **fields):
    data = {
        "digest": approval.tool_call.args_digest,
        "grant-times": "2",
        "grant-hours": "8",
        "grant-scope": "user",
        "grant-why": "routine",
        "grant-argument-order_number": "any",
        "grant-argument-amount": "at_most",
        "grant-argument-reason": "any",
        **fields,
    }
    return client.post(f"{QUEUE}{approval.pk}/grant/", data)


def judged(call):
    verdict = policy.judge(call)
    call.advance("approved" if verdict.kind == "allow" else "waiting", policy=verdict.rule)
    return verdict.kind


def test_a_grant_lets_such_calls_run_so_often(alice, carol, bob, waiting, proposed, signed_in):
    approval = waiting(alice)

    assert allow(signed_in(bob), approval).status_code == 302

    assert fresh(approval).status == RequestStatus.APPROVED
    grant = Grant.objects.get()
    calls = [proposed(alice, args={**REFUND, "amount": "10.00"}) for _ in range(3)]
    assert judged(proposed(alice, args={**REFUND, "amount": "60.00"})) == "ask"
    assert judged(proposed(carol, args={**REFUND, "amount": "10.00"})) == "ask"
    assert [judged(call) for call in calls] == ["allow", "allow", "ask"]
    assert policy.objection(calls[0]) == ""
    grant.refresh_from_db()
    assert grant.used == 2


@pytest.mark.parametrize(
    "args",
    [
        {**REFUND, "amount": "1e3"},
        {**REFUND, "amount": "-1"},
        {**REFUND, "amount": "59.900001"},
        {**REFUND, "amount": "NaN"},
        {**REFUND, "amount": ["1"]},
        {**REFUND, "amount": True},
        {**REFUND, "more": 1},
        {"order_number": 1042, "reason": "broken"},
    ],
)
def test_a_grant_covers_nothing_else(alice, bob, waiting, proposed, signed_in, args):
    allow(signed_in(bob), waiting(alice))

    assert policy.judge(proposed(alice, args=args)).kind == "ask"


def test_a_revoked_grant_ends_at_once(alice, bob, waiting, proposed, signed_in):
    allow(signed_in(bob), waiting(alice))
    grant = Grant.objects.get()
    call = proposed(alice)
    assert judged(call) == "allow"

    url = "/admin/approvals/grant/"
    signed_in(bob).post(url, {"action": "revoke", "_selected_action": [grant.pk]}, follow=True)

    assert policy.objection(call) == "Nobody has approved it."
    assert policy.judge(proposed(alice)).kind == "ask"
    with pytest.raises(AlreadyDecided):
        grants.revoke(bob, grant)


@pytest.mark.parametrize("change", ["giver off", "giver left", "rule forbids", "ended", "two needed"])
def test_a_grant_stands_only_as_its_giver_and_the_rule_do(
    alice, bob, ben, rule, waiting, proposed, signed_in, change
):
    allow(signed_in(bob), waiting(alice))
    match change:
        case "giver off":
            bob.is_active = False
            bob.save()
        case "giver left":
            bob.groups.clear()
        case "rule forbids":
            PolicyRule.objects.update(may_be_granted=False)
        case "ended":
            Grant.objects.update(ends_at=timezone.now())
        case "two needed":
            PolicyRule.objects.update(quorum=2)
    if change in ("giver off", "giver left"):
        assert ben.is_active  # somebody is left to ask

    verdict = policy.judge(proposed(alice))
    assert verdict.kind != "allow"


def test_a_grant_for_a_thread_stays_in_it(alice, bob, waiting, proposed, signed_in):
    allow(signed_in(bob), waiting(alice), **{"grant-scope": "thread"})

    assert policy.judge(proposed(alice)).kind == "ask"  # a thread of its own


def test_who_may_not_decide_grants_nothing(alice, carol, dave, frank, admin, waiting, signed_in):
    approval = waiting(alice)

    for who in (dave, frank, admin):
        assert allow(signed_in(who), approval).status_code == 403
    for who in (alice, carol):
        assert allow(signed_in(who), approval).status_code == 302  # to the sign-in
    assert not Grant.objects.exists()
    assert fresh(approval).is_pending


def test_a_delegate_grants_nothing(alice, frank, away, waiting, signed_in):
    approval = waiting(alice)

    assert allow(signed_in(frank), approval).status_code == 403
    assert "allow calls like it" not in signed_in(frank).get(page_of(approval)).content.decode()


def test_who_may_see_grants(alice, bob, dave, carol, waiting, signed_in):
    allow(signed_in(bob), waiting(alice))
    url = "/admin/approvals/grant/"

    assert "2" in signed_in(dave).get(url).content.decode()
    assert signed_in(carol).get(url).status_code == 302
    grant = Grant.objects.get()
    signed_in(dave).post(url, {"action": "revoke", "_selected_action": [grant.pk]})
    grant.refresh_from_db()
    assert grant.revoked_at is None
    assert roles.AUDITORS in dave.groups.values_list("name", flat=True)
