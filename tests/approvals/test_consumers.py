"""The queue's socket."""

from __future__ import annotations

import json

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from runtime import hub

from apps.approvals import consumers
from tests.approvals.conftest import post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def socket(signed_in):
    """Opens the socket as somebody's browser does, from a page of this origin."""

    from config.asgi import application  # it loads the middleware: not while tests are collected

    def open_as(user=None, origin="http://localhost"):
        headers = [(b"origin", origin.encode()), (b"host", b"localhost")]
        if user is not None:
            session = signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()))
        return WebsocketCommunicator(application, "/ws/approvals/", headers)

    return database_sync_to_async(open_as)


async def hear(communicator):
    return json.loads(await communicator.receive_from(timeout=5))["waiting"]


async def closed(communicator):
    """The code the server closes with."""
    while (message := await communicator.receive_output(timeout=5))["type"] != "websocket.close":
        pass
    await communicator.disconnect()
    return message["code"]


@pytest.fixture
async def no_hub_left():
    yield
    await hub.close()


@pytest.mark.parametrize("name", [None, "alice", "carol"])
async def test_strangers_are_refused(request, socket, name, alice, carol):
    user = {"alice": alice, "carol": carol}.get(name)
    communicator = await socket(user)

    accepted, _ = await communicator.connect()

    assert accepted  # a page can't read why a handshake was refused
    assert await closed(communicator) == (4403 if user else 4401)


async def test_another_sites_page_is_refused(socket, bob):
    communicator = await socket(bob, origin="https://evil.example")

    accepted, _ = await communicator.connect()

    assert not accepted


async def test_it_counts_what_waits_for_this_person(socket, alice, bob, waiting, signed_in, no_hub_left):
    communicator = await socket(bob)
    accepted, _ = await communicator.connect()
    assert accepted
    assert await hear(communicator) == 0

    request = await database_sync_to_async(waiting)(alice)
    assert await hear(communicator) == 1
    client = await database_sync_to_async(signed_in)(bob)
    await database_sync_to_async(post)(client, request, "approve")
    assert await hear(communicator) == 0
    await communicator.disconnect()


async def test_it_closes_at_once_when_the_account_is_switched_off(socket, bob, no_hub_left):
    communicator = await socket(bob)
    await communicator.connect()
    await hear(communicator)

    bob.is_active = False
    await bob.asave()

    assert await closed(communicator) in (4401, 4403)


async def test_it_closes_when_the_session_ends(socket, bob, monkeypatch, no_hub_left):
    from django.contrib.sessions.models import Session

    monkeypatch.setattr(consumers, "HEARTBEAT", 0.2)
    communicator = await socket(bob)
    await communicator.connect()
    await hear(communicator)

    await Session.objects.all().adelete()

    assert await closed(communicator) == 4401


async def test_whoever_talks_to_it_is_cut_off(socket, bob, no_hub_left):
    communicator = await socket(bob)
    await communicator.connect()
    await hear(communicator)

    await communicator.send_to('{"decision": "approve"}')

    assert await closed(communicator) == 1003
