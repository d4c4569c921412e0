"""What stands in an approver's place: a delegate, an escalation, a broken glass, a grant."""

from __future__ import annotations

from datetime import timedelta

import pytest
from accounts import roles
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.utils import timezone
from runtime import decisions, runs
from runtime.exceptions import AlreadyDecided, DecisionRefused, InvalidDecision
from runtime.models import ToolState

from apps.approvals import grants, policy, requests
from apps.approvals.models import (
    ApprovalRequest,
    Condition,
    Delegation,
    EditBound,
    Grant,
    PolicyRule,
    RequestStatus,
    Vote,
    Way,
)
from apps.approvals.permissions import decidable, objection_to
from tests.approvals.conftest import QUEUE, REFUND, edited, page_of, post


@pytest.fixture
def finance(db):
    group = Group.objects.create(name="Finance")
    group.permissions.set(Permission.objects.filter(codename__in=["decide", "view_approvalrequest"]))
    return group


@pytest.fixture
def frank(person, finance):
    return person("frank", "Finance", staff=True)


@pytest.fixture
def away(bob, frank):
    now = timezone.now()
    return Delegation.objects.create(
        delegator=bob, delegate=frank, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(days=1)
    )


def fresh(approval):
    return ApprovalRequest.objects.select_related("tool_call", "approvers").get(pk=approval.pk)


def pass_by(approval, **moments):
    """The clock of the database passes these."""
    names = ", ".join(f"{name} = clock_timestamp() - interval '1 second'" for name in moments)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE approvals_approvalrequest SET {names} WHERE id = %s", [approval.pk])


# Delegation


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


# Escalation and reminders


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
    pass_by(approval, expires_at=1)

    runs.reconcile()

    approval = fresh(approval)
    assert approval.is_pending
    assert approval.approvers == finance
    assert approval.expires_at > timezone.now()
    assert "Finance" in objection_to(bob, approval)
    assert objection_to(frank, approval) == ""
    pass_by(approval, expires_at=1)
    runs.reconcile()
    assert fresh(approval).status == RequestStatus.EXPIRED
    assert approval.tool_call.run.resumed_by.count() == 1


def test_the_escalated_group_decides(alice, frank, escalating, waiting):
    approval = waiting(alice)
    pass_by(approval, expires_at=1)
    requests.look_at_deadlines()

    call = decisions.decide(frank, approval.tool_call_id, {"type": "approve"})

    assert policy.objection(call) == ""


def test_it_is_not_escalated_to_nobody(alice, escalating, waiting, frank):
    approval = waiting(alice)
    frank.is_active = False
    frank.save()
    pass_by(approval, expires_at=1)

    requests.look_at_deadlines()

    assert fresh(approval).status == RequestStatus.EXPIRED


def test_a_reminder_is_given_once(alice, escalating, waiting):
    approval = waiting(alice)
    assert approval.remind_at - approval.created_at == timedelta(minutes=30)
    pass_by(approval, remind_at=1)

    requests.look_at_deadlines()

    assert fresh(approval).remind_at is None
    assert fresh(approval).is_pending


# What a decision is bound to


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


# Break-glass


def test_breaking_the_glass_needs_the_permission_and_a_reason(alice, admin, bob, dave, waiting, signed_in):
    approval = waiting(alice)
    why = "The customer waits at the counter."

    assert "Break the glass" in signed_in(admin).get(page_of(approval)).content.decode()
    assert "Break the glass" not in signed_in(dave).get(page_of(approval)).content.decode()
    assert post(signed_in(admin), approval, "approve").status_code == 403
    assert post(signed_in(dave), approval, "approve", override="on", note=why).status_code == 403
    assert post(signed_in(admin), approval, "approve", override="on", note="now").status_code == 422
    assert post(signed_in(admin), approval, "approve", override="on", note=why).status_code == 302

    approval = fresh(approval)
    assert (approval.via, approval.decided_by, approval.reason) == (Way.BREAK_GLASS, admin, why)
    assert policy.objection(approval.tool_call) == ""
    assert "break-glass" in signed_in(dave).get(page_of(approval)).content.decode()


def test_nobody_breaks_the_glass_for_themselves(admin, bob, waiting, signed_in):
    approval = waiting(admin)

    assert "Break the glass" not in signed_in(admin).get(page_of(approval)).content.decode()
    answer = post(signed_in(admin), approval, "approve", override="on", note="because I am the admin here")
    assert answer.status_code == 403
    assert fresh(approval).is_pending


# Grants


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
