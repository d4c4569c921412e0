"""Webhooks, preferences and deliveries in the admin: what they do, and who does not get in."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.urls import reverse
from runtime import jobs, seal
from runtime.redis_client import redis_client

from apps.approvals.notifications.models import Delivery, DeliveryAttempt, Preference, WebhookEndpoint
from tests.approvals.notifications.conftest import perform_due

WEBHOOKS = "/admin/approvals/webhookendpoint/"
MINE = "/admin/approvals/grouppreference/mine/"
DELIVERIES = "/admin/approvals/delivery/"
GROUPS = "/admin/approvals/grouppreference/"
HOOK = {
    "name": "ours",
    "is_enabled": "on",
    "format": "generic",
    "url": "https://hooks.example.com/services/TOKEN",
    "secret": "s3cret",
    "group": "",
    "events": ["opened", "decided"],
}


def page(row):
    return reverse(f"admin:approvals_{row._meta.model_name}_change", args=[row.pk])


@pytest.fixture
def failed(alice, bob, waiting, endpoint, receiver):
    receiver.behaviour = "status 500"
    bob.email = ""
    bob.save()
    endpoint()
    waiting(alice)
    perform_due()
    Delivery.objects.update(status="failed")
    return Delivery.objects.get()


@pytest.mark.parametrize("url", [WEBHOOKS, f"{WEBHOOKS}add/", MINE, DELIVERIES, GROUPS, f"{GROUPS}add/"])
def test_a_stranger_does_not_get_in(url, client, carol, operator, dave, signed_in):
    for browser in (client, signed_in(carol)):
        for answer in (browser.get(url), browser.post(url, {})):
            assert (answer.status_code, answer.url.split("?")[0]) == (302, "/admin/login/")
    for someone in (operator, dave):
        assert signed_in(someone).get(url).status_code == 403
        assert signed_in(someone).post(url, {}).status_code == 403


def test_an_approver_edits_no_webhook_and_sees_no_delivery(bob, failed, signed_in):
    browser = signed_in(bob)

    for url in (WEBHOOKS, DELIVERIES, GROUPS, page(failed), page(failed.endpoint)):
        assert browser.get(url).status_code == 403
        assert browser.post(url, {"_test": "1", "_again": "1"}).status_code == 403
    assert Delivery.objects.get().status == "failed"


def test_an_administrator_adds_a_webhook_whose_secret_is_never_shown(admin, signed_in):
    browser = signed_in(admin)

    assert browser.post(f"{WEBHOOKS}add/", HOOK).status_code == 302

    row = WebhookEndpoint.objects.get()
    assert row.secret == "s3cret"
    assert "s3cret" not in row.sealed_secret
    shown = browser.get(page(row)).content.decode()
    assert "s3cret" not in shown
    assert row.sealed_secret not in shown
    assert "TOKEN" not in browser.get(WEBHOOKS).content.decode()


def test_the_stored_secret_stays_unless_it_is_replaced_or_forgotten(admin, signed_in):
    browser = signed_in(admin)
    browser.post(f"{WEBHOOKS}add/", HOOK)
    row = WebhookEndpoint.objects.get()

    for posted, kept in (({"secret": ""}, "s3cret"), ({"secret": "new"}, "new")):
        browser.post(page(row), {**HOOK, **posted})
        row.refresh_from_db()
        assert row.secret == kept
    browser.post(page(row), {**HOOK, "secret": "", "forget_secret": "on"})
    row.refresh_from_db()
    assert row.secret == ""


def test_who_may_only_look_sees_no_address(person, admin, signed_in):
    signed_in(admin).post(f"{WEBHOOKS}add/", HOOK)
    viewer = person("vera", staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_webhookendpoint"))

    answer = signed_in(viewer).get(page(WebhookEndpoint.objects.get()))

    assert answer.status_code == 200
    assert "hooks.example.com" in answer.content.decode()
    assert "TOKEN" not in answer.content.decode()


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "http://example.com/", "javascript:alert(1)"])
def test_an_internal_address_is_refused_with_words(admin, signed_in, url):
    answer = signed_in(admin).post(f"{WEBHOOKS}add/", {**HOOK, "url": url})

    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_a_secret_under_another_key_says_what_to_do(settings):
    token = seal.sealed("x")
    old = settings.SECRET_KEY
    settings.SECRET_KEY = "another"

    with pytest.raises(seal.Unreadable, match="Enter it again"):
        seal.opened(token)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert seal.opened(token) == "x"


@pytest.mark.django_db(transaction=True)
def test_a_test_goes_the_way_of_everything_else(admin, signed_in, endpoint, receiver):
    """Through Redis and the very worker of the command."""
    redis_client().flushdb()
    row = endpoint()
    browser = signed_in(admin)

    answer = browser.post(page(row), {**HOOK, "url": receiver.url, "_test": "1"})
    assert answer.status_code == 302
    call_command("worker", queue="maintenance", burst=True)

    assert b'"event":"test"' in receiver.received[0].body
    assert "200" in browser.get(answer.url).content.decode()
    assert "sent" in browser.get(page(row)).content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_worker_performs_nothing_else(receiver, monkeypatch):
    redis_client().flushdb()
    called = []
    monkeypatch.setattr("os.getcwd", lambda: called.append(1))
    job = jobs.queue().enqueue("os.getcwd")

    call_command("worker", queue="maintenance", burst=True)

    assert called == []
    assert job.is_failed
    with pytest.raises(PermissionError, match="not one of the jobs"):
        jobs.callable_of("os.getcwd")


def test_what_has_failed_is_shown_with_its_attempts_and_tried_again(admin, failed, signed_in, receiver):
    browser = signed_in(admin)
    shown = browser.get(page(failed)).content.decode()
    assert "It answered with the status 500." in shown
    assert "Try again" in shown

    receiver.behaviour = "fine"
    answer = browser.post(
        page(failed),
        {"_again": "1", "attempts-TOTAL_FORMS": "0", "attempts-INITIAL_FORMS": "0"},
        follow=True,
    )

    assert "1 is tried again." in answer.content.decode()
    assert perform_due() == ["sent"]
    assert DeliveryAttempt.objects.count() == 2
    assert "Try again" not in browser.get(page(failed)).content.decode()


def test_only_what_has_failed_is_tried_again(admin, failed, signed_in):
    Delivery.objects.update(status="sent")
    data = {"action": "try_again", "_selected_action": [str(failed.pk)]}

    answer = signed_in(admin).post(DELIVERIES, data, follow=True)

    assert "None of them has failed." in answer.content.decode()
    assert Delivery.objects.get().status == "sent"


def test_nobody_changes_or_deletes_a_delivery(admin, failed, signed_in):
    browser = signed_in(admin)

    browser.post(page(failed), {"status": "sent", "error": "none"})

    assert Delivery.objects.get().status == "failed"
    assert browser.post(f"{DELIVERIES}{failed.pk}/delete/", {"post": "yes"}).status_code == 403
    assert browser.get(f"{DELIVERIES}add/").status_code == 403


def test_an_approver_chooses_for_themselves_only(bob, person, signed_in):
    erin = person("erin", "Approvers", staff=True)
    browser = signed_in(bob)
    assert "You have not chosen yet" in browser.get(MINE).content.decode()
    data = {"mode": "digest", "every": "15", "events": ["opened"], "language": "zh-hans", "user": erin.pk}

    assert browser.post(MINE, data).status_code == 302

    chosen = Preference.objects.get()
    assert (chosen.user, chosen.mode, chosen.every) == (bob, "digest", 15)
    assert (chosen.events, chosen.language) == (["opened"], "zh-hans")
    assert "You have not chosen yet" not in browser.get(MINE).content.decode()


@pytest.mark.parametrize("wrong", [{"every": "0"}, {"mode": "shout"}, {"events": ["all"]}])
def test_a_wrong_choice_is_said_and_not_kept(bob, signed_in, wrong):
    data = {"mode": "digest", "every": "15", "events": ["opened"], "language": "en", **wrong}

    answer = signed_in(bob).post(MINE, data)

    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert not Preference.objects.exists()


def test_the_page_is_linked_for_those_who_decide(bob, operator, signed_in):
    assert MINE in signed_in(bob).get("/admin/").content.decode()
    assert MINE not in signed_in(operator).get("/admin/").content.decode()


def test_a_group_has_a_default(admin, rule, signed_in):
    data = {"group": rule.approvers.pk, "mode": "digest", "every": "5", "events": ["opened"]}

    assert signed_in(admin).post(f"{GROUPS}add/", data).status_code == 302
    assert "collected" in signed_in(admin).get(GROUPS).content.decode()
