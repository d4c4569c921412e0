"""What an e-mail says, and that a real mail server gets it."""

from __future__ import annotations

import re
from email import message_from_string, policy

import pytest
from runtime import runs

from apps.approvals.notifications import mail
from apps.approvals.notifications.models import Delivery, DeliveryAttempt, Preference
from tests.approvals.conftest import page_of
from tests.approvals.notifications.conftest import let_come_due, perform_due
from tests.support.smtp import MailServer


@pytest.fixture
def smtp(settings):
    def use(server):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port

    return use


def html_of(message):
    return next(part.content for part in message.alternatives if part.mimetype == "text/html")


def test_it_says_who_asks_for_what_since_when_and_until_when(alice, bob, rule, waiting, mailoutbox, settings):
    settings.PUBLIC_URL = "https://agents.example.com/"
    rule.expires_after = 60
    rule.save()
    approval = waiting(alice)

    perform_due()

    (message,) = mailoutbox
    assert message.to == ["bob@example.com"]
    assert message.subject == "[Countersign] alice asks for refund_order"
    for text in (message.body, html_of(message)):
        assert "1042" in text
        assert "Shop assistant" in text
        assert "Until" in text
        assert f"https://agents.example.com{page_of(approval)}" in text
    assert '"59.90"' in message.body


def test_no_link_in_it_decides_anything(alice, bob, carol, waiting, mailoutbox, client, signed_in, settings):
    approval = waiting(alice)
    perform_due()
    links = re.findall(rf"{settings.PUBLIC_URL.rstrip('/')}(/\S+)", mailoutbox[0].body)
    assert page_of(approval) in links

    for link in links:
        assert client.get(link).status_code == 302  # to the sign-in
        assert signed_in(carol).get(link).status_code == 302
        assert signed_in(bob).get(link).status_code == 200

    approval.refresh_from_db()
    assert approval.is_pending


def test_it_is_in_the_persons_language(alice, bob, waiting, mailoutbox):
    Preference.objects.create(user=bob, language="zh-hans")
    waiting(alice)

    perform_due()

    assert "alice" in mailoutbox[0].subject
    assert "asks for" not in mailoutbox[0].subject
    assert "助手" in mailoutbox[0].body
    assert 'lang="zh-hans"' in html_of(mailoutbox[0])


def test_nothing_written_by_a_model_gets_out_of_its_place(alice, bob, waiting, mailoutbox):
    args = {"to": "a@b\r\nBcc: x@y", "subject": "<b>hi</b>\u202e", "body": "x" * 5000}
    waiting(alice, "send_email", args)

    perform_due()

    message = mailoutbox[0]
    assert "\nBcc" not in message.message().as_string()
    assert "<b>hi" not in html_of(message)
    assert "\u202e" not in message.body
    assert "\\u202e" in message.body
    assert len(message.body) < 2000


def test_a_tools_name_breaks_no_header(alice, bob, waiting, mailoutbox):
    waiting(alice, "x\nBcc: evil@example.com", {})

    perform_due()

    assert "\n" not in mailoutbox[0].subject


def test_many_requests_are_one_mail_with_a_bound(alice, bob, waiting, mailoutbox, monkeypatch):
    monkeypatch.setattr(mail, "SHOWN", 2)
    Preference.objects.create(user=bob, mode="digest")
    for _ in range(5):
        waiting(alice)
    let_come_due()

    perform_due()

    assert len(mailoutbox) == 1
    assert "And 3 more." in mailoutbox[0].body


def test_a_real_server_gets_it_whole(alice, bob, waiting, smtp):
    waiting(alice)
    with MailServer() as server:
        smtp(server)
        perform_due()
        (text,) = server.messages

    got = message_from_string(text, policy=policy.default)
    assert got["To"] == "bob@example.com"
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["Message-ID"].endswith("@localhost>")
    assert [part.get_content_type() for part in got.iter_parts()] == ["text/plain", "text/html"]
    assert DeliveryAttempt.objects.get().outcome == "sent"


@pytest.mark.parametrize(("answer", "status"), [("550 no such user", "failed"), ("450 later", "pending")])
def test_a_refused_address_is_given_up_and_a_busy_one_is_not(alice, bob, waiting, smtp, answer, status):
    waiting(alice)
    with MailServer(refuses=answer) as server:
        smtp(server)
        perform_due()

    assert Delivery.objects.get().status == status
    assert DeliveryAttempt.objects.get().error == "The mail server refuses this address."


def test_a_mail_server_that_is_away_is_tried_again(alice, bob, waiting, smtp, mailoutbox):
    waiting(alice)
    with MailServer() as server:
        smtp(server)
    perform_due()  # nobody listens any more
    assert Delivery.objects.get().status == "pending"
    runs.reconcile()
    assert perform_due() == []  # not before its time

    let_come_due()
    with MailServer() as server:
        smtp(server)
        perform_due()
        assert len(server.messages) == 1

    outcomes = DeliveryAttempt.objects.order_by("started_at").values_list("outcome", flat=True)
    assert list(outcomes) == ["failed", "sent"]
