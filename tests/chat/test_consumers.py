"""The socket of a thread's page: what the page would look like from its frames is what a fresh page shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest
from accounts.models import User
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client
from runtime import hub
from runtime.database import in_database
from runtime.models import RunStatus, Thread

from apps.chat import consumers
from apps.chat.routing import websocket_urlpatterns
from tests.chat.conftest import Worker
from tests.support.page import Page, fresh

pytestmark = pytest.mark.django_db(transaction=True)

application = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))

Socket = WebsocketCommunicator
Connect = Callable[..., Socket]


@pytest.fixture
async def connect(thread: Thread, signed_in: Callable[[User], Client]) -> AsyncIterator[Connect]:
    opened: list[Socket] = []

    def open(client: Client | None, after: str = "", thread_id: object = thread.pk) -> Socket:
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value if client else ""
        headers = [
            (b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()),
            (b"origin", b"http://testserver"),
        ]
        socket = WebsocketCommunicator(
            application, f"/ws/threads/{thread_id}/?after={after}&lang=en", headers
        )
        opened.append(socket)
        return socket

    yield open
    for socket in opened:
        await socket.disconnect()
    await hub.close()


async def close_code(socket: Socket) -> int:
    while True:
        message = await socket.receive_output(3)
        if message["type"] == "websocket.close":
            return int(message["code"])


async def test_frames_lead_to_what_a_fresh_page_shows(
    connect: Connect, alices: Client, worker: Worker
) -> None:
    socket = connect(alices)
    await socket.connect()

    def turn() -> None:
        run = worker.begin("Refund it")
        worker.stream(run, "a", "Let me ", "see.")
        worker.say(run, "a", "Let me see.")
        worker.call(run, "done", result="ok")
        worker.stream(run, "b", "And ", "then")

    await in_database(turn)
    page = await Page().follow(socket)

    assert page.items == await in_database(fresh, worker.thread)
    assert 'data-status="running"' in page.composer


async def test_what_a_program_has_streamed_is_nothing_to_a_page(
    connect: Connect, alices: Client, worker: Worker
) -> None:
    socket = connect(alices)
    await socket.connect()

    def turn() -> None:
        run = worker.begin("Refund it")
        worker.wire(run, mode="values", event="values", data={"messages": ["SECOND TELLING"]})
        worker.stream(run, "a", "Let me ", "see.")
        worker.wire(run, mode="values", gap=True)

    await in_database(turn)
    page = await Page().follow(socket)

    assert page.items == await in_database(fresh, worker.thread)
    assert "Let me see." in "".join(page.items.values())
    assert "SECOND TELLING" not in "".join(page.items.values())


async def test_a_page_that_comes_back_gets_what_it_missed_once(
    connect: Connect, alices: Client, worker: Worker
) -> None:
    socket = connect(alices)
    await socket.connect()
    run = await in_database(worker.begin)
    await in_database(worker.stream, run, "a", "1 ", "2 ")
    page = await Page().follow(socket)
    await socket.disconnect()
    await in_database(worker.stream, run, "a", "3 ", "4 ")

    again = connect(alices, after=page.cursor)
    await again.connect()
    await page.follow(again)

    assert page.items == await in_database(fresh, worker.thread)
    assert "1 2 3 4 " in "".join(page.items.values())


async def test_a_page_whose_log_is_lost_is_drawn_anew(
    connect: Connect, alices: Client, worker: Worker
) -> None:
    run = await in_database(worker.begin)
    await in_database(worker.say, run, "a", "said before")
    await in_database(worker.forget)
    await in_database(worker.announce, "snapshot", run, key="0" * 16, text="so far")

    socket = connect(alices, after="1-1")
    await socket.connect()
    frames = [json.loads(await socket.receive_from(2)) for _ in range(3)]

    reset = next(frame for frame in frames if "reset" in frame)
    assert "said before" in reset["content"]
    assert "so far" in reset["content"]


async def test_an_attempt_that_begins_clears_what_the_dead_one_left(
    connect: Connect, alices: Client, worker: Worker
) -> None:
    socket = connect(alices)
    await socket.connect()
    run = await in_database(worker.begin)
    await in_database(worker.stream, run, "a", "lost")
    await in_database(worker.announce, "run", run, status="running", attempt=2)

    page = await Page().follow(socket)

    assert "lost" not in "".join(page.items.values())


async def test_the_end_of_a_run_frees_the_composer(connect: Connect, alices: Client, worker: Worker) -> None:
    run = await in_database(worker.begin)
    socket = connect(alices)
    await socket.connect()
    await in_database(run.finish, RunStatus.ERROR, error="The endpoint is away.")

    page = await Page().follow(socket)

    assert 'id="stop-form"' not in page.composer
    assert "The endpoint is away." in page.items[f"run-{run.pk}"]


@pytest.mark.parametrize("change", ["deactivated", "signed out", "new password"])
async def test_it_is_closed_soon_after_the_person_may_no_longer_read(
    connect: Connect, alices: Client, thread: Thread, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(consumers, "BEAT", 0.1)
    socket = connect(alices)
    await socket.connect()

    def happen() -> None:
        if change == "deactivated":
            User.objects.update(is_active=False)
        elif change == "signed out":
            alices.logout()
        else:
            thread.owner.set_password("something else 1")
            thread.owner.save()

    await in_database(happen)

    assert await close_code(socket) == 4401


async def test_it_is_closed_soon_after_the_person_lost_the_role(
    connect: Connect, alices: Client, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "BEAT", 0.1)
    socket = connect(alices)
    await socket.connect()
    await in_database(thread.owner.groups.clear)

    assert await close_code(socket) == 4404


async def test_one_person_has_so_many_open_and_no_more(
    connect: Connect, alices: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SOCKETS_EACH", 1)
    first, second, third = connect(alices), connect(alices), connect(alices)
    await first.connect()
    assert "beat" in json.loads(await first.receive_from(2))

    await second.connect()
    assert await close_code(second) == 4429

    await first.disconnect()
    await third.connect()
    assert "beat" in json.loads(await third.receive_from(2))


async def test_it_is_closed_when_the_thread_is_deleted(
    connect: Connect, alices: Client, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "BEAT", 0.1)
    socket = connect(alices)
    await socket.connect()
    await in_database(thread.delete)

    assert await close_code(socket) == 4404


async def test_it_beats_so_that_a_dead_connection_is_noticed(connect: Connect, alices: Client) -> None:
    socket = connect(alices)
    await socket.connect()

    assert "beat" in json.loads(await socket.receive_from(2))


async def test_a_cursor_that_is_none_of_ours_means_from_the_start(
    connect: Connect, alices: Client, worker: Worker
) -> None:
    await in_database(worker.begin, "Hello")
    socket = connect(alices, after="nonsense")
    await socket.connect()

    assert "Hello" in "".join((await Page().follow(socket)).items.values())
