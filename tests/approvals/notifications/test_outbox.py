"""Who is told what, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone
from runtime import decisions as port
from runtime import jobs, runs
from runtime.redis_client import redis_client

from apps.approvals import notifications
from apps.approvals.models import ApprovalRequest
from apps.approvals.notifications import outbox
from apps.approvals.notifications.models import Delivery, GroupPreference, Preference
from apps.approvals.notifications.receivers import warn_of_expiry
from tests.approvals.notifications.conftest import let_come_due, perform_due


def told(kind="opened"):
    return {row.person.username for row in Delivery.objects.filter(kind=kind, person__isnull=False)}


def test_those_who_may_decide_are_told_of_a_request(alice, bob, carol, dave, operator, admin, waiting):
    waiting(alice)

    assert told() == {"bob"}


def test_the_requester_is_not_told_of_their_own(bob, person, waiting):
    person("erin", "Approvers", staff=True)

    waiting(bob)

    assert told() == {"erin"}


@pytest.mark.parametrize("change", [{"is_active": False}, {"email": ""}])
def test_who_is_switched_off_or_has_no_address_is_not_told(alice, bob, waiting, change):
    type(bob).objects.filter(pk=bob.pk).update(**change)

    waiting(alice)

    assert told() == set()


def test_a_member_whose_group_may_no_longer_decide_is_not_told(alice, bob, rule, waiting):
    rule.approvers.permissions.clear()

    waiting(alice)

    assert told() == set()


def test_who_is_switched_off_before_it_is_sent_gets_nothing(alice, bob, waiting, mailoutbox):
    waiting(alice)
    bob.is_active = False
    bob.save()

    assert perform_due() == ["no longer needed"]
    assert mailoutbox == []
    assert Delivery.objects.get().status == "skipped"


def test_what_was_decided_in_the_meantime_is_not_asked(alice, bob, waiting, mailoutbox):
    approval = waiting(alice)
    port.decide(bob, approval.tool_call_id, {"type": "approve"})

    perform_due()

    assert mailoutbox == []


@pytest.mark.django_db(transaction=True)
def test_nothing_is_told_of_what_was_rolled_back(alice, bob, rule, proposed):
    call = proposed(alice)
    redis_client().flushdb()

    with transaction.atomic():
        call.advance("waiting", policy=rule.name)
        assert Delivery.objects.exists()
        transaction.set_rollback(True)

    assert not Delivery.objects.exists()
    assert jobs.queue().job_ids == []


@pytest.mark.parametrize("kind", ["reminded", "escalated", "break_glass"])
def test_others_announce_with_one_call(alice, bob, waiting, mailoutbox, kind):
    approval = waiting(alice)
    perform_due()

    assert notifications.announce(approval, kind) == 1
    perform_due()

    assert told(kind) == {"bob"}
    assert len(mailoutbox) == 2


def test_an_unknown_event_is_refused(alice, bob, waiting):
    with pytest.raises(ValueError, match="shouted"):
        notifications.announce(waiting(alice), "shouted")


def test_a_request_is_handed_on_to_another_group(alice, bob, person, waiting):
    approval = waiting(alice)
    bosses = Group.objects.create(name="Bosses")
    bosses.permissions.set(Group.objects.get(name="Approvers").permissions.all())
    person("erin", "Bosses", staff=True)

    notifications.announce(approval, "escalated", group=bosses)

    assert told("escalated") == {"erin"}


def test_expiry_is_told_before_and_after_once(alice, bob, rule, waiting, mailoutbox):
    rule.expires_after = 60
    rule.save()
    approval = waiting(alice)
    assert warn_of_expiry() == 0  # not yet
    rows = ApprovalRequest.objects.filter(pk=approval.pk)
    rows.update(
        created_at=timezone.now() - timedelta(minutes=51), expires_at=timezone.now() + timedelta(minutes=9)
    )

    assert [warn_of_expiry(), warn_of_expiry()] == [1, 0]
    rows.update(expires_at=timezone.now() - timedelta(seconds=1))
    runs.reconcile()
    runs.reconcile()

    assert Delivery.objects.filter(kind="expiring").count() == 1
    assert Delivery.objects.filter(kind="expired").count() == 1


def test_a_decision_is_told_in_digests_to_those_who_were_told(alice, bob, person, waiting, mailoutbox):
    for name, mode in (("erin", "digest"), ("fred", "at_once")):
        someone = person(name, "Approvers", staff=True)
        Preference.objects.create(user=someone, mode=mode, every=10)
    approval = waiting(alice)
    let_come_due()
    perform_due()
    person("gina", "Approvers", staff=True)  # was not told of it

    port.decide(bob, approval.tool_call_id, {"type": "reject", "message": "No."})
    let_come_due()
    perform_due()

    assert told("decided") == {"erin"}
    assert "rejected by bob" in mailoutbox[-1].subject


def test_a_groups_default_holds_until_a_person_chooses(alice, bob, rule, waiting):
    GroupPreference.objects.create(group=rule.approvers, mode="none")
    waiting(alice)
    assert told() == set()

    Preference.objects.create(user=bob, mode="at_once", events=["opened"])
    approval = waiting(alice)
    notifications.announce(approval, "reminded")

    assert told() == {"bob"}
    assert told("reminded") == set()


def test_a_digest_collects_what_comes_in_its_interval(alice, bob, waiting, mailoutbox):
    Preference.objects.create(user=bob, mode="digest", every=30)
    for _ in range(3):
        waiting(alice)
    assert perform_due() == []
    assert Delivery.objects.values("due_at").distinct().count() == 1
    assert 0 < (Delivery.objects.first().due_at - timezone.now()).total_seconds() <= 30 * 60

    let_come_due()
    perform_due()

    assert [mail.subject for mail in mailoutbox] == ["[Countersign] 3 approval requests"]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}


@pytest.mark.parametrize(("mode", "at_most"), [("digest", 1), ("at_once", outbox.AT_ONCE_A_MINUTE + 1)])
def test_a_storm_is_a_handful_of_mails(alice, bob, waiting, mailoutbox, mode, at_most):
    Preference.objects.create(user=bob, mode=mode, every=1)
    began = timezone.now()
    for _ in range(60):
        waiting(alice)
        perform_due()  # the worker keeps up
    let_come_due()
    perform_due()

    minutes = timezone.now().timestamp() // 60 - began.timestamp() // 60 + 1
    assert len(mailoutbox) <= at_most * minutes
    assert Delivery.objects.filter(status="sent").count() == 60


@pytest.mark.django_db(transaction=True)
def test_a_flush_of_redis_loses_no_notification_and_doubles_none(alice, bob, waiting, mailoutbox):
    redis_client().flushall()
    waiting(alice)
    assert len(jobs.queue().job_ids) == 1
    redis_client().flushall()

    runs.reconcile()
    runs.reconcile()

    ids = [job.args[0] for job in jobs.queue().jobs]
    assert len(ids) == 1
    perform_due()
    runs.reconcile()
    assert len(jobs.queue().job_ids) == 1  # the old one: what was sent does not come again
    assert len(mailoutbox) == 1
    redis_client().flushall()
