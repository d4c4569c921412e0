"""What nobody could decide on is refused or told of, never left waiting in silence."""

from __future__ import annotations

from datetime import timedelta

import pytest
from accounts import roles
from django.contrib.auth.models import Group
from django.core import mail
from django.utils import timezone
from runtime import ledger, signals
from runtime.models import AuditEvent, ToolState

from apps.approvals.decisions import decide
from apps.approvals.models import ApprovalRequest, Delegation, PolicyRule, RequestStatus
from apps.approvals.notifications import delivery
from apps.approvals.notifications.models import Delivery
from tests.approvals.conftest import QUEUE

WHY = "The customer waits at the counter."


@pytest.fixture
def olga(person):
    return person("olga", roles.OPERATORS, staff=True)


def look():
    signals.reconciling.send(sender=None)


def told(kind="stranded"):
    return set(
        Delivery.objects.filter(kind=kind, person__isnull=False).values_list("person__username", flat=True)
    )


def audited(action):
    return AuditEvent.objects.filter(body__contains=f'"{action}"').count()


def stranded():
    return list(ApprovalRequest.objects.filter(status="pending", stranded_at__isnull=False))


def switch_off(person, *, on=False):
    person.is_active = on
    person.save()


def test_a_new_call_that_nobody_could_decide_on_is_refused_and_told_of(
    bob, admin, olga, dave, rule, proposed
):
    call = proposed(bob)

    ledger._judge(call)

    assert call.state == ToolState.DENIED
    assert "Too few people" in call.reason
    request = call.approval_requests.get()
    assert (request.status, request.decided_by) == (RequestStatus.CANCELLED, None)
    assert audited("approval_request.refused") == 1
    assert told() == {"admin", "olga"}


def test_what_is_refused_is_in_the_mail_and_in_the_queue_of_who_can_help(
    bob, admin, olga, rule, proposed, signed_in
):
    call = proposed(bob)
    ledger._judge(call)

    for each in Delivery.objects.filter(kind="stranded"):
        delivery.perform(str(each.pk))

    assert {message.to[0] for message in mail.outbox} == {admin.email, olga.email}
    assert "nobody could have decided: bob asked for refund_order" in mail.outbox[0].subject
    page = signed_in(admin).get(QUEUE).content.decode()
    assert "too few people could have decided" in page
    assert "all wait" in page
    assert "too few people could have decided" not in signed_in(bob).get(QUEUE).content.decode()


def test_one_whose_approvers_are_gone_is_told_of_once(alice, bob, admin, olga, waiting, signed_in):
    request = waiting(alice)
    look()
    assert stranded() == []
    switch_off(bob)

    look()
    look()

    assert stranded() == [request]
    assert audited("approval_request.stranded") == 1
    assert told() == {"admin", "olga"}
    page = signed_in(admin).get(QUEUE).content.decode()
    assert "Nobody could decide on these." in page
    assert f"/{request.pk}/change/" in page.partition("Nobody could decide")[2].partition("</ul>")[0]
    glass = {"type": "approve", "override": True, "message": WHY}
    assert decide(admin, request.tool_call_id, glass).state == ToolState.APPROVED
    assert "Nobody could decide on these." not in signed_in(admin).get(QUEUE).content.decode()


def test_it_is_no_longer_told_when_somebody_can_decide_again(alice, bob, admin, waiting):
    waiting(alice)
    switch_off(bob)
    look()
    switch_off(bob, on=True)

    look()

    assert stranded() == []
    assert audited("approval_request.decidable") == 1
    assert delivery.perform(str(Delivery.objects.get(kind="stranded").pk)) == "no longer needed"


@pytest.mark.parametrize(
    "change", ["quorum", "group without anybody", "people who are the requester", "group without the right"]
)
def test_one_that_is_asked_anew_of_nobody_is_told_of(alice, bob, admin, rule, waiting, change):
    request = waiting(alice)
    match change:
        case "quorum":
            rule.quorum = 2
        case "group without anybody":
            rule.approvers = Group.objects.create(name="Nobody")
        case "people who are the requester":
            rule.approvers = None
            rule.people.add(alice)
        case _:
            rule.approvers = Group.objects.create(name="Powerless")
            bob.groups.add(rule.approvers)
            bob.groups.remove(Group.objects.get(name=roles.APPROVERS))
    rule.save()

    look()

    [anew] = stranded()
    assert anew != request
    assert audited("approval_request.stranded") == 1
    assert "admin" in told()


def test_only_those_are_told_of_whose_requester_is_the_last_approver(alice, bob, ben, waiting):
    own, other = waiting(ben), waiting(alice)
    switch_off(bob)

    look()

    assert stranded() == [own]
    assert ApprovalRequest.objects.get(pk=other.pk).stranded_at is None


def test_a_delegation_that_ends_strands_what_it_was_for(alice, bob, person, rule, waiting):
    """The delegate decides by the right of who is away: with that person it is gone."""
    others = Group.objects.create(name="Others")
    others.permissions.set(Group.objects.get(name=roles.APPROVERS).permissions.all())
    person("frank", "Others", staff=True)
    now, hour = timezone.now(), timedelta(hours=1)
    frank = others.user_set.get()
    Delegation.objects.create(delegator=bob, delegate=frank, starts_at=now - hour, ends_at=now + hour)
    request = waiting(alice)
    look()
    assert stranded() == []

    switch_off(bob)
    look()

    assert stranded() == [request]


def test_one_that_was_handed_on_to_a_group_that_emptied_is_told_of(alice, bob, ben, person, rule, waiting):
    second = Group.objects.create(name="Second line")
    second.permissions.set(Group.objects.get(name=roles.APPROVERS).permissions.all())
    sue = person("sue", "Second line", staff=True)
    PolicyRule.objects.filter(pk=rule.pk).update(expires_after=5, on_expiry="escalate", escalate_to=second)
    request = waiting(alice)
    ApprovalRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    look()
    assert ApprovalRequest.objects.get().escalated_at
    assert stranded() == []

    switch_off(sue)
    look()

    assert stranded() == [request]


def test_what_the_requester_confirms_alone_waits_for_them(alice, rule, waiting, proposed):
    PolicyRule.objects.filter(pk=rule.pk).update(requester_confirms=True, approvers=None)
    question = proposed(alice, "interrupt", {"question": "Go on?"}, kind="question", interrupt_id="i")
    PolicyRule.objects.filter(pk=rule.pk).update(tool="refund_order")
    waiting(alice)
    question.advance("waiting", policy="")
    look()
    assert stranded() == []

    switch_off(alice)
    look()

    assert len(stranded()) == 2


def test_looking_costs_a_query_for_each_way_of_asking(
    alice, bob, ben, waiting, django_assert_max_num_queries
):
    from apps.approvals import stranded as module

    for _ in range(20):
        waiting(alice)

    with django_assert_max_num_queries(4):
        module.look()


def test_strangers_see_no_banner(carol, alice, bob, waiting, signed_in):
    waiting(alice)
    switch_off(bob)
    look()

    assert signed_in(carol).get(QUEUE).status_code == 302
