"""The socket: who gets in, by what, and that it tells and does what the two routes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from accounts import keys, roles
from accounts.models import User
from accounts.scopes import Scope
from channels.testing import WebsocketCommunicator
from config.asgi import application
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client
from runtime import hub
from runtime.database import in_database
from runtime.models import Assistant, Run, Thread, ToolCall, ToolState

from apps.approvals.models import PolicyRule
from apps.chat import watching
from apps.chat.langgraph.protocol import consumers, feed
from apps.chat.langgraph.protocol.envelopes import CHANNELS
from tests.chat.langgraph.conftest import key_of
from tests.chat.langgraph.protocol.conftest import Streaming
from tests.chat.langgraph.protocol.test_commands import INTERRUPT, START, rest

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 5  # seconds

Connect = Callable[..., WebsocketCommunicator]


@pytest.fixture
async def connect(thread: Thread) -> AsyncIterator[Connect]:
    opened: list[WebsocketCommunicator] = []

    def open(thread_id: object = thread.pk, query: str = "", **headers: str) -> WebsocketCommunicator:
        sent = [(b"host", b"testserver")]
        sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        path = f"/api/langgraph/threads/{thread_id}/stream/events{query}"
        opened.append(socket := WebsocketCommunicator(application, path, sent))
        return socket

    yield open
    for socket in opened:
        await socket.disconnect()
    await hub.close()


def of_page(client: Client, origin: str = "http://testserver") -> dict[str, str]:
    name = settings.SESSION_COOKIE_NAME
    return {"cookie": f"{name}={client.cookies[name].value}", "origin": origin}


async def asked(socket: WebsocketCommunicator, method: str, params: Any, id: int = 1) -> Any:
    """What is said to the command; events that come before that are passed over."""
    await socket.send_json_to({"id": id, "method": method, "params": params})
    while True:
        said = await socket.receive_json_from(LIMIT)
        if said["type"] != "event":
            assert said["id"] == id
            return said


async def events_of(socket: WebsocketCommunicator, last: str) -> list[Any]:
    found = []
    while not found or found[-1]["params"]["data"].get("event") != last:
        said = await socket.receive_json_from(LIMIT)
        if said["type"] == "event":
            found.append(said)
    return found


async def close_code(socket: WebsocketCommunicator) -> int:
    while True:
        message = await socket.receive_output(LIMIT)
        if message["type"] == "websocket.close":
            return int(message["code"])


async def test_it_tells_what_it_is_subscribed_to(
    connect: Connect, thread: Thread, streaming: Streaming
) -> None:
    def turn() -> str:
        run = streaming.started()
        streaming.chunk(run, content="Hello", chunk_position="last")
        streaming.ends(run)
        return key_of(thread.owner)

    socket = connect(x_api_key=await in_database(turn))
    assert (await socket.connect())[0]

    subscribed = await asked(socket, "subscription.subscribe", {"channels": ["lifecycle"]})
    found = await events_of(socket, "completed")
    assert [event["method"] for event in found] == ["lifecycle", "lifecycle"]

    await asked(socket, "subscription.subscribe", {"channels": list(CHANNELS), "since": found[0]["seq"]}, 2)
    rest_of_it = await events_of(socket, "completed")
    assert rest_of_it[0]["method"] == "messages"
    assert rest_of_it[-1]["event_id"] == found[-1]["event_id"]

    id = subscribed["result"]["subscription_id"]
    assert (await asked(socket, "subscription.unsubscribe", {"subscription_id": id}, 3))["type"] == "success"
    again = await asked(socket, "subscription.unsubscribe", {"subscription_id": id}, 4)
    assert again["error"] == "no_such_subscription"


async def test_a_run_is_started_and_heard(connect: Connect, thread: Thread, streaming: Streaming) -> None:
    socket = connect(authorization=f"Bearer {await in_database(key_of, thread.owner)}")
    await socket.connect()

    await asked(socket, "subscription.subscribe", {"channels": ["lifecycle"]})
    said = await asked(socket, "run.start", START, 2)

    def end() -> None:
        streaming.ends(streaming.start(Run.objects.get(pk=said["result"]["run_id"])))

    await in_database(end)
    assert [event["params"]["data"]["event"] for event in await events_of(socket, "completed")] == [
        "running",
        "completed",
    ]


async def test_a_first_run_makes_the_thread(connect: Connect, alice: User, assistant: Assistant) -> None:
    thread_id = uuid4()
    socket = connect(thread_id, x_api_key=await in_database(key_of, alice))
    await socket.connect()

    assert (await asked(socket, "subscription.subscribe", {"channels": ["values"]}))["type"] == "error"
    assert (await asked(socket, "run.start", START, 2))["type"] == "success"
    assert (await asked(socket, "subscription.subscribe", {"channels": ["values"]}, 3))["type"] == "success"


@pytest.mark.parametrize(
    ("scopes", "confirms", "state"),
    [
        ((Scope.CHAT, Scope.APPROVE), True, ToolState.APPROVED),
        ((Scope.CHAT,), True, ToolState.WAITING),
        ((Scope.CHAT, Scope.APPROVE), False, ToolState.WAITING),
    ],
)
async def test_an_answer_is_a_decision_of_who_may_decide(
    connect: Connect,
    thread: Thread,
    streaming: Streaming,
    scopes: tuple[Scope, ...],
    confirms: bool,
    state: str,
) -> None:
    def wait() -> tuple[ToolCall, str]:
        group = None if confirms else Group.objects.get(name=roles.APPROVERS)
        PolicyRule.objects.create(
            name="Ask", tool="refund_order", verdict="ask", requester_confirms=confirms, approvers=group
        )
        return rest(streaming), key_of(thread.owner, *scopes)

    call, key = await in_database(wait)
    socket = connect(x_api_key=key)
    await socket.connect()

    answer = {"interrupt_id": INTERRUPT, "response": {"decisions": [{"type": "approve"}]}}
    said = await asked(socket, "input.respond", answer)

    await in_database(call.refresh_from_db)
    assert call.state == state
    assert said.get("error", "") == ("" if state == ToolState.APPROVED else "permission_denied")


async def test_a_page_of_ours_gets_in_and_no_other(
    connect: Connect, thread: Thread, signed_in: Callable[[User], Client]
) -> None:
    alices = await in_database(signed_in, thread.owner)

    socket = connect(**of_page(alices))
    assert (await socket.connect())[0]
    assert (await asked(socket, "subscription.subscribe", {"channels": ["values"]}))["type"] == "success"
    for headers in (
        of_page(alices, "http://elsewhere.example"),
        {**of_page(alices, "http://elsewhere.example"), "x_api_key": "cs_000000000000_" + "a" * 40},
    ):
        assert not (await connect(**headers).connect())[0]


async def test_a_program_does_not_borrow_a_session(
    connect: Connect, thread: Thread, signed_in: Callable[[User], Client]
) -> None:
    """It has no origin: its key is all that counts for it."""
    cookie = of_page(await in_database(signed_in, thread.owner))["cookie"]
    for headers in ({}, {"authorization": "Bearer nonsense"}):
        socket = connect(cookie=cookie, **headers)
        await socket.connect()

        assert await close_code(socket) == 4401


async def test_strangers_and_nobody_are_turned_away(
    connect: Connect, thread: Thread, carol: User, signed_in: Callable[[User], Client]
) -> None:
    carols_key, audits = await in_database(lambda: (key_of(carol), key_of(thread.owner, Scope.AUDIT)))
    carols = await in_database(signed_in, carol)
    for headers, code in (
        ({"x_api_key": carols_key}, 4404),
        (of_page(carols), 4404),
        ({"x_api_key": audits}, 4403),
        ({"x_api_key": "cs_000000000000_" + "a" * 40}, 4401),
        ({"origin": "http://testserver"}, 4401),
    ):
        socket = connect(**headers)
        await socket.connect()
        assert await close_code(socket) == code
    in_the_url = connect(query=f"?x-api-key={carols_key}", origin="http://testserver")
    await in_the_url.connect()
    assert await close_code(in_the_url) == 4401


async def test_who_may_no_longer_listen_is_let_go(
    connect: Connect, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.2)
    key = await in_database(key_of, thread.owner)
    socket = connect(x_api_key=key)
    await socket.connect()
    await asked(socket, "subscription.subscribe", {"channels": ["values"]})

    await in_database(lambda: keys.revoke_key(keys.key_of(key)))

    assert await close_code(socket) in (4401, 4404)


async def test_a_command_of_a_key_that_ended_is_refused(connect: Connect, thread: Thread) -> None:
    key = await in_database(key_of, thread.owner)
    socket = connect(x_api_key=key)
    await socket.connect()
    assert (await asked(socket, "run.explode", {}))["error"] == "unknown_command"
    await in_database(lambda: keys.revoke_key(keys.key_of(key)))

    assert (await asked(socket, "run.start", START))["error"] == "permission_denied"
    assert await in_database(Run.objects.count) == 0


@pytest.mark.parametrize("frame", ["{", "[]", '{"method": "run.start"}', '"' + "a" * 2_000_000 + '"'])
async def test_what_is_no_command_is_said_to_be_none(connect: Connect, thread: Thread, frame: str) -> None:
    socket = connect(x_api_key=await in_database(key_of, thread.owner))
    await socket.connect()

    await socket.send_to(frame)

    said = await socket.receive_json_from(LIMIT)
    assert (said["id"], said["error"]) == (None, "invalid_argument")
    assert (await asked(socket, "run.explode", {}))["error"] == "unknown_command"


async def test_it_takes_so_much_and_no_more(
    connect: Connect, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SUBSCRIPTIONS_EACH", 2)
    monkeypatch.setattr(consumers, "COMMANDS_EACH", 4)
    key = await in_database(key_of, thread.owner)
    socket = connect(x_api_key=key)
    await socket.connect()

    kinds = [
        (await asked(socket, "subscription.subscribe", {"channels": ["values"]}, id))["type"]
        for id in range(1, 6)
    ]
    assert kinds == ["success", "success", "error", "error", "error"]
    assert "too many commands" in (await asked(socket, "run.start", START, 6))["message"]

    monkeypatch.setattr(watching, "STREAMS_EACH", 1)
    one_more = connect(x_api_key=key)
    await one_more.connect()
    assert await close_code(one_more) == 4429


async def test_subscriptions_are_counted_as_streams_are_and_given_back(
    connect: Connect, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "STREAMS_EACH", 3)  # the socket itself is one
    socket = connect(x_api_key=await in_database(key_of, thread.owner))
    assert (await socket.connect())[0]
    wanted = {"channels": ["lifecycle"]}

    first = await asked(socket, "subscription.subscribe", wanted, 1)
    assert (await asked(socket, "subscription.subscribe", wanted, 2))["type"] == "success"
    assert (await asked(socket, "subscription.subscribe", wanted, 3))["type"] == "error"

    id = first["result"]["subscription_id"]
    await asked(socket, "subscription.unsubscribe", {"subscription_id": id}, 4)
    assert (await asked(socket, "subscription.subscribe", wanted, 5))["type"] == "success"


async def test_few_logs_of_one_person_are_replayed_at_a_time(
    connect: Connect, thread: Thread, streaming: Streaming, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn() -> str:
        run = streaming.started()
        streaming.chunk(run, content="Hello", chunk_position="last")
        streaming.ends(run)
        return key_of(thread.owner)

    at_once: list[int] = []
    under_way, fresh = 0, feed._Feed._fresh

    async def slow(self: Any, batch: Any) -> Any:
        nonlocal under_way
        under_way += 1
        at_once.append(under_way)
        await asyncio.sleep(0.1)
        under_way -= 1
        return await fresh(self, batch)

    monkeypatch.setattr(feed._Feed, "_fresh", slow)
    socket = connect(x_api_key=await in_database(turn))
    assert (await socket.connect())[0]
    for id in range(6):
        await socket.send_json_to(
            {"id": id, "method": "subscription.subscribe", "params": {"channels": ["lifecycle"]}}
        )
    for _ in range(6):
        await events_of(socket, "completed")

    assert max(at_once) == feed.REPLAYS_EACH
    assert len(at_once) >= 6
