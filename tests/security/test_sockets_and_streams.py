"""Attacks 22 to 30: WebSockets and event streams."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from accounts.models import ApiKey, User
from channels.testing import WebsocketCommunicator
from config.asgi import application
from django.conf import settings as live
from django.test import Client
from django.utils import timezone
from runtime import hub
from runtime.database import in_database
from runtime.models import Run, Thread
from websockets.asyncio.client import connect as connect_to
from websockets.exceptions import ConnectionClosed

from apps.chat.api import sockets
from apps.chat.langgraph import streams
from tests.chat.api.conftest import events_in
from tests.chat.api.test_sockets import PATIENCE, Talk, cookie, talk  # noqa: F401  (a fixture)
from tests.chat.test_consumers import connect  # noqa: F401  (a fixture)
from tests.security.registry import attack
from tests.security.without import patched
from tests.support.product import Web
from tests.support.programs import key_of

pytestmark = pytest.mark.django_db(transaction=True)


async def first_word(socket: Any) -> str:
    """What the server says first: the code it closes with, or that the socket is open."""
    await socket.connect()
    message = await socket.receive_output(3)
    return str(message["code"]) if message["type"] == "websocket.close" else "open"


def let_in(readers: Any) -> dict[Any, int]:
    return dict.fromkeys(readers, 0)


def admitted(consumer: Any) -> Any:
    return consumer._caller().user, 404


@attack(
    22,
    "a page of another origin opens a socket with the person's cookie",
    "403 before it is accepted",
    control="the Origin has to be ours, port included",
    without=patched("config.sockets.is_our_origin", lambda origin, host: True),
    held=[False, False, False],
    fallen=[True, True, True],
)
async def test_22_a_socket_from_another_origin(thread, alices):
    cookie = f"{live.SESSION_COOKIE_NAME}={alices.cookies[live.SESSION_COOKIE_NAME].value}".encode()
    found = []
    for origin in ("https://evil.example", "http://testserver:9999", "null"):
        headers = [(b"host", b"testserver"), (b"origin", origin.encode()), (b"cookie", cookie)]
        socket = WebsocketCommunicator(application, f"/ws/threads/{thread.pk}/", headers)
        found.append((await socket.connect())[0])
        await socket.disconnect()
    return found


@attack(
    22,
    "the same to the socket of the API, with the person's cookie, and with a key that is none beside it",
    "403 before it is accepted, or 4401: a key that is none is no session",
    control="the Origin has to be ours, or one that may call the API, which brings no cookie",
    without=patched("config.sockets.is_our_origin", lambda origin, host: True),
    held=["rejected", "rejected", "4401", "4401"],
    fallen=["open", "4401", "4401", "4401"],
)
async def test_22_the_socket_of_the_api_from_another_origin(thread, alices):
    cookie = f"{live.SESSION_COOKIE_NAME}={alices.cookies[live.SESSION_COOKIE_NAME].value}".encode()
    evil, key = (b"origin", b"https://evil.example"), (b"x-api-key", b"cs_000000000000_" + b"a" * 40)
    found = []
    for headers in ([evil], [evil, key], [], [key]):
        found.append(await word_of_protocol(thread.pk, [*headers, (b"cookie", cookie)]))
    return found


async def word_of_protocol(thread_id, headers):
    """rejected, the code that the socket of the API is closed with, or open: it answers to a subscription."""
    path = f"/api/langgraph/threads/{thread_id}/stream/events"
    socket = WebsocketCommunicator(application, path, [(b"host", b"testserver"), *headers])
    try:
        if not (await socket.connect())[0]:
            return "rejected"
        command = {"id": 1, "method": "subscription.subscribe", "params": {"channels": ["values"]}}
        await socket.send_json_to(command)
        message = await socket.receive_output(3)
        return str(message["code"]) if message["type"] == "websocket.close" else "open"
    finally:
        await socket.disconnect()
        await hub.close()


@attack(
    23,
    "a socket without a session",
    "closed with 4401",
    control="sockets ask who is there",
    without=patched("apps.chat.consumers.refusals", let_in),
    held="4401",
    fallen="open",
)
async def test_23_a_socket_of_nobody(connect):  # noqa: F811
    return await first_word(connect(None))


@attack(
    24,
    "a socket on another person's thread, and on one that is none",
    "closed with 4404, both",
    control="a thread's owner, looked up when it opens and every few seconds",
    without=patched("apps.chat.consumers.refusals", let_in),
    held=["4404", "4404"],
    fallen=["open", "4404"],
)
async def test_24_a_socket_on_another_persons_thread(connect, carol, signed_in):  # noqa: F811
    client = await in_database(signed_in, carol)
    nobodys = "6ba7b821-9dad-11d1-80b4-00c04fd430c8"
    return [await first_word(connect(client)), await first_word(connect(client, thread_id=nobodys))]


@attack(
    24,
    "the socket of the API on another person's thread",
    "closed with 4404",
    control="whose the thread is, looked up when it opens, for each command and every few seconds",
    without=[
        patched("apps.chat.langgraph.protocol.consumers.ProtocolConsumer._admission", admitted),
        patched("apps.chat.langgraph.protocol.commands.check_thread", lambda caller, thread_id, sent: None),
    ],
    held="4404",
    fallen="open",
)
async def test_24_the_socket_of_the_api_on_another_persons_thread(thread, carol):
    key = await in_database(key_of, carol)
    return await word_of_protocol(thread.pk, [(b"x-api-key", key.encode())])


@attack(
    25,
    "a key in an address, where logs keep it",
    "401, although the key is good",
    control="secrets in a query are refused",
    without=patched("accounts.callers._has_secret_in_url", lambda request: False),
    held={401},
    fallen={200},
)
def test_25_a_key_in_an_address(alice):
    key = key_of(alice)
    queries = (f"api_key={key}", f"access_token={key}", f"x={key}")
    headers = {"x-api-key": key}
    return {Client().get(f"/api/v1/auth/me?{query}", headers=headers).status_code for query in queries}


ARGUMENTS: tuple[str, ...] = ()
UNBOUNDED = ("--websocket-max-message-size", "0", "--websocket-max-frame-size", "0")


@attack(
    26,
    "a frame of ten megabytes",
    "the connection is dropped",
    control="a limit of what the server takes in of a socket",
    without=patched(f"{__name__}.ARGUMENTS", UNBOUNDED),
    held="dropped",
    fallen="open",
)
def test_26_a_frame_of_ten_megabytes(alices, thread):
    web = Web(*ARGUMENTS)
    web.start()
    try:
        return asyncio.run(_after_a_frame(web, thread, alices.cookies[live.SESSION_COOKIE_NAME].value))
    finally:
        web.stop()


async def _after_a_frame(web: Web, thread: Any, cookie: str) -> str:
    url = f"{web.url.replace('http', 'ws')}/ws/threads/{thread.pk}/"
    headers = {"Cookie": f"{live.SESSION_COOKIE_NAME}={cookie}"}
    async with connect_to(url, origin=web.url, additional_headers=headers) as socket:
        await socket.recv()  # its first beat: it is let in
        try:
            await socket.send("x" * 10_000_000)
            await asyncio.wait_for(socket.recv(), 10)
        except ConnectionClosed:
            return "dropped"
    return "open"


@attack(
    27,
    "one person opens thirty sockets",
    "closed with 4429 from the 21st on",
    control="a limit of sockets for each person",
    without=patched("apps.chat.consumers.SOCKETS_EACH", 1000),
    held={"open": 20, "4429": 10},
    fallen={"open": 30},
)
async def test_27_thirty_sockets(connect, alices):  # noqa: F811
    return dict(Counter([await first_word(connect(alices)) for _ in range(30)]))


@attack(
    22,
    "a page of another origin opens the programs' socket with the person's cookie",
    "403 before it is accepted",
    control="the Origin has to be ours, or one that may call the API, which brings no cookie",
    without=patched("config.sockets.is_our_origin", lambda origin, host: True),
    held=["refused", "refused"],
    fallen=["pong", "pong"],
)
async def test_22_the_programs_socket_from_another_origin(alices):
    found = []
    for origin in ("https://evil.example", "http://testserver:9999"):
        socket = Talk({"Origin": origin, "Cookie": cookie(alices)})
        if (await socket.raw.connect(PATIENCE))[0]:
            found.append((await socket.ask("ping"))["type"])
        else:
            found.append("refused")
        await socket.raw.disconnect()
    return found


@attack(
    23,
    "the programs' socket with a key of which only the public part is right, and with none",
    "an error 401, then closed with 4401; nothing is begun",
    control="a key's secret is compared",
    without=patched("accounts.keys.compare_digest", lambda one, other: True),
    held=[401, 401, 0],
    fallen=["accepted", 401, 1],
)
async def test_23_the_programs_socket_for_nobody(talk, alice, assistant):  # noqa: F811
    key = await in_database(key_of, alice)
    found: list[Any] = []
    for text in (f"{key[:-40]}{'a' * 40}", ""):
        socket = await talk(text)
        await socket.say("send", message="hi")
        answer = await socket.hear()
        found.append(answer.get("code") or answer["type"])
    return [*found, await in_database(Run.objects.count)]


@attack(
    23,
    "a key ends while its socket listens",
    "closed with 4401 within seconds",
    control="who is there is looked up every few seconds",
    without=patched("accounts.models.ApiKey.has_ended", False),
    held="4401",
    fallen="open",
)
async def test_23_a_key_that_ends_under_a_socket(talk, alice, thread, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sockets, "BEAT", 0.1)
    socket = await talk(await in_database(key_of, alice))
    await socket.ask("resume", session_id=str(thread.pk), after="0")
    await in_database(ApiKey.objects.update, revoked_at=timezone.now())
    await asyncio.sleep(2)
    return "open" if await socket.raw.receive_nothing(0.1) else str(await socket.code())


def anybodys(user: User, thread_id: Any) -> Thread:
    return Thread.objects.get(pk=thread_id)


@attack(
    24,
    "another person's session over the programs' socket: listening, a message",
    "an error 404, both",
    control="sessions are looked up among one's own",
    without=[
        patched("apps.chat.api.acts.get_thread_for", anybodys),
        patched("apps.chat.api.doors.get_thread_for", anybodys),
    ],
    held=[404, 404],
    fallen=["session", "accepted"],
)
async def test_24_another_persons_session_over_the_programs_socket(talk, carol, worker):  # noqa: F811
    await in_database(worker.begin, "a secret")
    session = str(worker.thread.pk)
    socket = await talk(await in_database(key_of, carol))
    listening = await socket.ask("resume", session_id=session)
    heard = listening.get("code") or (await socket.hear())["event"]
    saying = await socket.ask("send", session_id=session, message="hi")
    return [heard, saying.get("code") or saying["type"]]


@attack(
    26,
    "a frame of three hundred thousand characters to the programs' socket",
    "closed with 1009, unread",
    control="a limit of a frame's length",
    without=patched("apps.chat.api.sockets.FRAME_CHARS", 10**9),
    held="1009",
    fallen="read",
)
async def test_26_a_long_frame_to_the_programs_socket(talk, alice):  # noqa: F811
    socket = await talk(await in_database(key_of, alice))
    await socket.say("ping", ref="x" * 300_000)
    message = await socket.raw.receive_output(PATIENCE)
    return str(message["code"]) if message["type"] == "websocket.close" else "read"


@attack(
    27,
    "five hundred frames at once to the programs' socket",
    "closed with 4429; what had come is not carried out",
    control="a limit of frames at once and a second",
    without=patched("apps.chat.api.sockets.FRAMES_AT_ONCE", 10**9),
    held=lambda answered: answered < 200,
    fallen=500,
)
async def test_27_a_flood_of_frames(talk, alice):  # noqa: F811
    socket = await talk(await in_database(key_of, alice))
    for _ in range(500):
        await socket.say("ping")
    answered = 0
    while (await socket.raw.receive_output(PATIENCE))["type"] == "websocket.send":
        answered += 1
        if answered == 500:
            break
    return answered


@attack(
    29,
    "a model writes what would end its event and begin another",
    "one event, with all of it as data",
    control="data of an event is JSON, on one line",
    without=patched("apps.chat.langgraph.streams.json", SimpleNamespace(dumps=lambda data, **_: data)),
    held=["messages"],
    fallen=["messages", "end"],
    known_as="LLM05",
)
def test_29_an_event_inside_of_a_text(db):
    text = '"a"\nid: 1\n\nevent: end\ndata: {}\nid: 2'
    return [name for name, _data, _id in events_in(streams.frame("messages", text, "9"))]
