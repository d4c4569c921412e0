"""Attacks 77 to 81: what an address that somebody typed makes the product call."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from runtime import runs
from runtime.models import Run, RunWebhook
from runtime.webhooks import addresses, http

from apps.chat.langgraph import webhooks
from tests.approvals.notifications.test_webhooks import INTERNAL
from tests.chat.langgraph.conftest import Program, key_of
from tests.security.registry import attack
from tests.security.without import patched
from tests.support.receiver import Receiver


def nothing(*args: Any, **kwargs: Any) -> None:
    """A check that never objects."""


def is_accepted(url: str) -> bool:
    try:
        addresses.check_url(url)
    except addresses.Refused:
        return False
    return True


@attack(
    77,
    "loopback, private, link-local and metadata addresses, in every notation",
    "refused as they are typed",
    control="the host of a webhook is looked at",
    without=patched("runtime.webhooks.addresses._check_host", nothing),
    held=[],
    fallen=lambda accepted: len(accepted) > 25,
)
def test_77_internal_addresses():
    return [url for url in INTERNAL if is_accepted(url)]


@attack(
    77,
    "a name that leads inside, at the moment of the call",
    "nothing is sent",
    control="the address that is connected to is looked at, after the name was resolved",
    without=patched("runtime.webhooks.addresses.is_public", lambda address: True),
    held=0,
    fallen=1,
)
def test_77_a_name_that_leads_inside(monkeypatch):
    with Receiver() as receiver:
        found = [(2, 1, 6, "", ("127.0.0.1", receiver.port))]
        monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_given, **_more: found)
        # Plain HTTP, as no certificate names the receiver: the check of the scheme is another one.
        monkeypatch.setattr(addresses, "check_url", nothing)
        with suppress(http.Unsuccessful):
            http.post(f"http://rebound.example.com:{receiver.port}/x", b"{}", {})
        return len(receiver.received)


def told_of_a_run(alice: Any, url: str) -> int:
    """The status of asking for it, when the run is stopped at once and what is due is sent."""
    body = {"assistant_id": "shop", "input": {"messages": ["hello"]}, "webhook": url}
    answer = Program(key_of(alice)).post("/runs", body)
    for run in Run.objects.all():
        runs.cancel_run(run)
    for webhook in RunWebhook.due():
        webhooks.perform(str(webhook.pk))
    return int(answer.status_code)


@attack(
    77,
    "a program names an internal host that administrators' webhooks may call, as its run's webhook",
    "422, and nothing is sent",
    control="hosts that are allowed for administrators are not for whoever may chat",
    without=patched("runtime.webhooks.addresses.is_named", lambda host, inside: host == "127.0.0.1"),
    held=(422, 0),
    fallen=(200, 1),
)
def test_77_a_webhook_of_a_run_to_an_administrators_host(alice, assistant, settings):
    settings.WEBHOOK_INTERNAL_HOSTS = ["127.0.0.1"]
    with Receiver() as receiver:
        return told_of_a_run(alice, receiver.url), len(receiver.received)


@attack(
    77,
    "the name in a run's webhook leads inside when the run has ended",
    "nothing is sent",
    control="the address that is connected to is looked at, for webhooks of runs too",
    without=patched("runtime.webhooks.addresses.is_public", lambda address: True),
    held=(200, 0),
    fallen=(200, 1),
)
def test_77_a_webhook_of_a_run_that_is_rebound(alice, assistant, monkeypatch):
    with Receiver() as receiver:
        found = [(2, 1, 6, "", ("127.0.0.1", receiver.port))]
        monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_given, **_more: found)
        monkeypatch.setattr(addresses, "check_url", nothing)
        status = told_of_a_run(alice, f"http://rebound.example.com:{receiver.port}/x")
        return status, len(receiver.received)


@attack(
    79,
    "line ends, blanks and backslashes in an address",
    "refused",
    control="characters that parsers read differently are refused",
    without=patched("runtime.webhooks.addresses.UNSAFE", re.compile("(?!)")),
    held=[],
    fallen=["https://example.com/x\r\nHost: evil", "https://exam ple.com/x"],
)
def test_79_twisted_addresses():
    twisted = ["https://example.com/x\r\nHost: evil", "https://exam ple.com/x"]
    return [url for url in twisted if is_accepted(url)]


@attack(
    81,
    "an endpoint answers with ten megabytes",
    "64 KB of it are read",
    control="a limit of what is read of an answer",
    without=patched("runtime.webhooks.http.ANSWER_LIMIT", 100 * 1024 * 1024),
    held=64 * 1024,
    fallen=10 * 1024 * 1024,
)
def test_81_an_endless_answer(settings):
    settings.WEBHOOK_INTERNAL_HOSTS = ["127.0.0.1"]
    with Receiver("10 MB") as receiver:
        _status, body = http.post(receiver.url, b"{}", {})
    return len(body)
