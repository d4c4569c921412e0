"""Webhooks against a real server: what it gets, and what it may do to us."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connections
from django.db.models.functions import Now
from runtime import decisions as port
from runtime.webhooks import addresses, http, retries

from apps.approvals.notifications import delivery
from apps.approvals.notifications.models import Delivery, DeliveryAttempt
from tests.approvals.conftest import page_of
from tests.approvals.notifications.conftest import let_come_due, perform_due
from tests.support.receiver import Receiver


@pytest.fixture(autouse=True)
def no_mail(bob):
    type(bob).objects.update(email="")


def post_of(receiver):
    (got,) = receiver.received
    return got, json.loads(got.body)


def test_a_signed_post_says_what_happened(alice, waiting, endpoint, receiver):
    endpoint(secret="s3cret")
    approval = waiting(alice)

    assert perform_due() == ["sent"]

    got, told = post_of(receiver)
    sent = Delivery.objects.get()
    timestamp = got.headers["Countersign-Timestamp"]
    expected = hmac.new(b"s3cret", timestamp.encode() + b"." + got.body, hashlib.sha256).hexdigest()
    assert got.headers["Countersign-Signature"] == f"sha256={expected}"
    assert abs(int(timestamp) - time.time()) < 60
    assert got.headers["Countersign-Delivery"] == told["id"] == str(sent.pk)
    assert (told["event"], told["request"]["tool"]) == ("opened", "refund_order")
    assert told["request"]["url"].endswith(page_of(approval))
    assert "bob" not in got.body.decode()


def test_all_that_happens_to_a_request_is_told(alice, bob, waiting, endpoint, receiver):
    endpoint()
    approval = waiting(alice)
    port.decide(bob, approval.tool_call_id, {"type": "approve"})

    perform_due()

    assert [json.loads(each.body)["event"] for each in receiver.received] == ["opened", "decided"]
    assert "Countersign-Signature" not in receiver.received[0].headers


@pytest.mark.parametrize("fields", [{"is_enabled": False}, {"events": ["expired"]}, {"group": "another"}])
def test_what_it_did_not_ask_for_is_not_sent(alice, waiting, endpoint, fields, rule):
    if "group" in fields:
        fields = {"group": type(rule.approvers).objects.create(name="another")}
    endpoint(**fields)

    waiting(alice)

    assert not Delivery.objects.exists()


def test_dingtalk_is_signed_its_own_way(alice, waiting, endpoint, receiver):
    receiver.behaviour = 'answer {"errcode": 0}'
    endpoint(secret="SECx", format="dingtalk", url=f"{receiver.url}?access_token=t")
    waiting(alice)

    assert perform_due() == ["sent"]

    got, told = post_of(receiver)
    query = {name: values[0] for name, values in parse_qs(urlsplit(got.path).query).items()}
    expected = hmac.new(b"SECx", f"{query['timestamp']}\nSECx".encode(), hashlib.sha256).digest()
    assert base64.b64decode(query["sign"]) == expected
    assert query["access_token"] == "t"
    assert told["msgtype"] == "text"
    assert "alice asks for refund_order" in told["text"]["content"]


def test_feishu_is_signed_its_own_way(alice, waiting, endpoint, receiver):
    receiver.behaviour = 'answer {"code": 0}'
    endpoint(secret="key", format="feishu")
    waiting(alice, "send_email", {"to": '<at user_id="all">', "subject": "s", "body": "b"})

    assert perform_due() == ["sent"]

    _got, told = post_of(receiver)
    expected = hmac.new(f"{told['timestamp']}\nkey".encode(), b"", hashlib.sha256).digest()
    assert base64.b64decode(told["sign"]) == expected
    assert "<at" not in told["content"]["text"]


def test_slack_cannot_be_made_to_call_everybody(alice, waiting, endpoint, receiver):
    endpoint(format="slack")
    waiting(alice, "send_email", {"to": "<!channel>", "subject": "s", "body": "b"})

    perform_due()

    assert "&lt;!channel&gt;" in post_of(receiver)[1]["text"]


@pytest.mark.parametrize("format_", ["dingtalk", "feishu"])
@pytest.mark.parametrize("answer", ['{"errcode": 310000, "code": 19021}', "no json", "[]"])
def test_a_chat_that_says_200_and_refuses_has_failed(alice, waiting, endpoint, receiver, format_, answer):
    receiver.behaviour = f"answer {answer}"
    endpoint(format=format_)
    waiting(alice)

    assert perform_due() == ["to be tried again"]


def test_a_chat_is_not_flooded(alice, waiting, endpoint, receiver):
    endpoint(format="slack")
    for _ in range(20):
        waiting(alice)
        perform_due()
    let_come_due()
    perform_due()

    assert len(receiver.received) <= 7
    assert Delivery.objects.filter(status="sent").count() == 20


def test_an_endpoint_that_fails_is_retried_and_then_given_up(alice, waiting, endpoint, receiver):
    receiver.behaviour = "status 503"
    endpoint()
    waiting(alice)
    waits = []

    for _ in range(retries.MAX_TRIES):
        let_come_due()
        perform_due()
        row = Delivery.objects.annotate(now=Now()).get()
        waits.append((row.due_at - row.now).total_seconds())

    assert row.status == "failed"
    assert row.error == "It answered with the status 503."
    tries = DeliveryAttempt.objects.order_by("started_at")
    assert [(each.outcome, each.http_status) for each in tries] == [("failed", 503)] * retries.MAX_TRIES
    assert all(each.ended_at >= each.started_at for each in tries)
    for wait, planned in zip(waits, retries.DELAYS, strict=False):
        assert 0.8 * planned - 5 < wait < 1.2 * planned + 5
    let_come_due()
    assert perform_due() == []

    assert Delivery.retry(Delivery.objects.all()) == 1
    receiver.behaviour = "fine"
    assert perform_due() == ["sent"]


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_server_that_takes_its_time_does_not_get_ours(alice, waiting, endpoint, receiver, behaviour):
    receiver.behaviour = behaviour
    endpoint()
    waiting(alice)
    began = time.monotonic()

    assert perform_due() == ["to be tried again"]

    assert time.monotonic() - began < 3
    assert "No answer within" in Delivery.objects.get().error


def test_a_redirect_is_not_followed(alice, waiting, endpoint, receiver):
    with Receiver() as inside:
        receiver.behaviour = f"redirect {inside.url}"
        endpoint()
        waiting(alice)

        assert perform_due() == ["to be tried again"]
        assert inside.received == []

    assert DeliveryAttempt.objects.get().http_status == 302


def test_of_an_endless_answer_only_the_beginning_is_read(alice, waiting, endpoint, receiver):
    receiver.behaviour = "10 MB"
    endpoint()
    waiting(alice)

    assert perform_due() == ["sent"]

    assert receiver.sent < 8 * 1024 * 1024
    assert len(http.post(receiver.url, b"{}", {})[1]) == http.ANSWER_LIMIT


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_at_once_one_sends_it(alice, waiting, endpoint, receiver, threads_closed):
    endpoint()
    waiting(alice)
    pk = str(Delivery.objects.get().pk)

    def perform(_):
        try:
            return delivery.perform(pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(perform, range(8)))

    assert sorted(results) == ["not claimed"] * 7 + ["sent"]
    assert len(receiver.received) == 1


def test_an_endpoint_that_hangs_does_not_take_all_slots(alice, waiting, endpoint):
    ours, other = endpoint(), endpoint(name="other")
    for _ in range(delivery.AT_ONCE_TO_ONE + 1):
        waiting(alice)
    to_ours = [delivery.claim(row.pk) for row in ours.deliveries.order_by("created_at")]
    to_other = delivery.claim(other.deliveries.first().pk)

    assert [len(claimed) for claimed in to_ours] == [1] * delivery.AT_ONCE_TO_ONE + [0]
    assert len(to_other) == 1


def test_what_a_dead_process_left_is_sent_again(alice, waiting, endpoint, receiver):
    endpoint()
    waiting(alice)
    (left,) = delivery.claim(Delivery.objects.get().pk)
    assert perform_due() == []

    Delivery.objects.update(lease_expires_at=Now() - timedelta(seconds=1))

    assert perform_due() == ["sent"]
    assert Delivery.objects.get().tries == 2
    assert left.tries == 1


INTERNAL = [
    "https://127.0.0.1/x",
    "https://127.0.0.1:8443/x",
    "https://localhost/x",
    "https://localhost./x",
    "https://sub.localhost/x",
    "https://[::1]/x",
    "https://[::]/x",
    "https://0.0.0.0/x",
    "https://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/x",
    "https://172.16.0.1/x",
    "https://172.31.255.255/x",
    "https://192.168.1.1/x",
    "https://100.64.0.1/x",
    "https://224.0.0.1/x",
    "https://240.0.0.1/x",
    "https://255.255.255.255/x",
    "https://[fc00::1]/x",
    "https://[fd00:ec2::254]/x",
    "https://[fe80::1]/x",
    "https://[fe80::1%25eth0]/x",
    "https://[::ffff:127.0.0.1]/x",
    "https://[::ffff:7f00:1]/x",
    "https://[::127.0.0.1]/x",
    "https://[64:ff9b::7f00:1]/x",
    "https://[64:ff9b::a9fe:a9fe]/x",
    "https://[2002:7f00:1::]/x",
    "https://[2001:0:0:0:0:0:80ff:fffe]/x",
    "https://2130706433/x",
    "https://0x7f000001/x",
    "https://0x7f.1/x",
    "https://0177.0.0.1/x",
    "https://127.1/x",
    "https://127.0.0.1./x",
    "https://metadata.google.internal/x",
    "https://printer/x",
    "https://user@example.com/x",
    "https://example.com:80@127.0.0.1/x",
    "https://example.com\\@127.0.0.1/x",
    "https://example.com/x\r\nHost: evil",
    "https://exam ple.com/x",
    "https://example.com:99999/x",
    "https:///x",
    "http://example.com/x",
    "file:///etc/passwd",
    "gopher://example.com/x",
    "unix:///run/x.sock",
    "//example.com/x",
    "",
]


@pytest.mark.parametrize("url", INTERNAL)
def test_an_internal_or_twisted_address_is_refused(url, settings):
    settings.WEBHOOK_INTERNAL_HOSTS = []

    with pytest.raises(addresses.Refused):
        addresses.check_url(url)
    with pytest.raises(http.Unsuccessful) as refused:
        http.post(url, b"{}", {})
    assert refused.value.is_final


@pytest.mark.parametrize("url", ["https://example.com/hook", "https://1.1.1.1/x", "https://[2606:4700::1]/x"])
def test_a_public_address_is_accepted(url):
    addresses.check_url(url)


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], ["::ffff:169.254.169.254"]]
)
def test_a_name_that_resolves_to_the_inside_is_refused(monkeypatch, answers, settings):
    settings.WEBHOOK_INTERNAL_HOSTS = []
    found = [(0, 0, 0, "", (address, 443)) for address in answers]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_a, **_k: found)

    with pytest.raises(http.Unsuccessful, match="internal network") as refused:
        http.post("https://rebound.example.com/x", b"{}", {})

    assert refused.value.is_final


def test_the_address_that_was_looked_at_is_the_one_connected_to(monkeypatch, receiver, settings):
    """A name server that answers differently the second time is not asked a second time."""
    settings.WEBHOOK_INTERNAL_HOSTS = ["hook.example.com"]
    asked = []

    def resolve(host, *_args, **_options):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", receiver.port))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", resolve)

    assert http.post(f"http://hook.example.com:{receiver.port}/x", b"{}", {})[0] == 200
    assert asked[0] == "hook.example.com"
    assert set(asked[1:]) <= {"127.0.0.1"}
    assert receiver.received[0].headers["Host"].startswith("hook.example.com")
