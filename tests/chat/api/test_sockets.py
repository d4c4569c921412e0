"""The programs' socket: what is sent is carried out as whoever is there, and each event is told once, in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from accounts import keys, tokens
from accounts.models import ApiKey, TokenFamily, User
from accounts.scopes import Scope
from channels.testing import WebsocketCommunicator
from config.asgi import application
from django.conf import settings as live
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from runtime import events, hub
from runtime.database import in_database
from runtime.models import Run, RunStatus, Thread

from apps.chat import watching
from apps.chat.api import sockets
from tests.chat.api.conftest import Program, streamed
from tests.chat.conftest import Worker
from tests.support.programs import key_of

pytestmark = pytest.mark.django_db(transaction=True)

OURS = "http://testserver"
PATIENCE = 15  # seconds


class Talk:
    """One end of a socket, in frames."""

    def __init__(self, headers: dict[str, str]) -> None:
        sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.raw = WebsocketCommunicator(application, "/ws/v1/?lang=en", [(b"host", b"testserver"), *sent])

    async def open(self) -> Talk:
        accepted, _ = await self.raw.connect(PATIENCE)
        assert accepted
        return self

    async def say(self, type: str, **fields: Any) -> None:
        await self.raw.send_to(json.dumps({"type": type, **fields}))

    async def hear(self) -> Any:
        return json.loads(await self.raw.receive_from(PATIENCE))

    async def ask(self, type: str, **fields: Any) -> Any:
        """What answers the frame; events that come before are left out."""
        await self.say(type, ref="r", **fields)
        while (frame := await self.hear()).get("ref") != "r":
            pass
        return frame

    async def until(self, event: str) -> list[Any]:
        """The events up to the first called that."""
        found = [await self.hear()]
        while found[-1].get("event") != event:
            found.append(await self.hear())
        return found

    async def code(self) -> int:
        """That it is closed with; what comes before is left out."""
        while True:
            message = await self.raw.receive_output(PATIENCE)
            if message["type"] == "websocket.close":
                return int(message["code"])


Open = Callable[..., Any]


@pytest.fixture
async def talk() -> AsyncIterator[Open]:
    opened: list[Talk] = []

    async def open(key: str = "", **headers: str) -> Talk:
        opened.append(Talk({**({"x-api-key": key} if key else {}), **headers}))
        return await opened[-1].open()

    yield open
    for each in opened:
        with suppress(asyncio.CancelledError, TimeoutError):  # of a test that failed while it listened
            await each.raw.disconnect()
    await hub.close()


@pytest.fixture
def key(alice: User) -> str:
    return key_of(alice)


def cookie(client: Client) -> str:
    return f"{live.SESSION_COOKIE_NAME}={client.cookies[live.SESSION_COOKIE_NAME].value}"


def told(frames: list[Any]) -> list[Any]:
    return [(frame["event"], frame["id"]) for frame in frames if frame["type"] == "event"]


# Who is there


@pytest.mark.parametrize("how", ["x-api-key", "bearer", "token", "session", "first frame"])
async def test_each_way_to_say_who_one_is(
    talk: Open, alice: User, key: str, alices: Client, how: str
) -> None:
    if how == "x-api-key":
        socket = await talk(key)
    elif how == "bearer":
        socket = await talk(Authorization=f"Bearer {key}")
    elif how == "token":
        pair = await in_database(tokens.issue, alice)
        socket = await talk(Authorization=f"Bearer {pair.access}")
    elif how == "session":
        socket = await talk(Origin=OURS, Cookie=cookie(alices))
    else:
        socket = await talk()
        assert await socket.ask("auth", token=key) == {"type": "accepted", "ref": "r", "of": "auth"}

    assert await socket.ask("ping") == {"type": "pong", "ref": "r"}


async def test_who_says_nothing_is_not_waited_for(talk: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "AUTH_WITHIN", 0.2)

    assert await (await talk()).code() == 4401


@pytest.mark.parametrize("type", ["ping", "send", "resume"])
async def test_nothing_is_done_for_who_is_not_known(
    talk: Open, thread: Thread, assistant: object, type: str
) -> None:
    fields = {"send": {"message": "hi"}, "resume": {"session_id": str(thread.pk)}}.get(type, {})
    socket = await talk()

    answer = await socket.ask(type, **fields)

    assert (answer["type"], answer["code"]) == ("error", 401)
    assert await socket.code() == 4401
    assert not await in_database(Run.objects.exists)


async def test_a_bad_key_is_told_so_and_closed(talk: Open, alices: Client) -> None:
    for socket in (
        await talk("cs_000000000000_" + "a" * 40),
        await talk(Origin=OURS, Cookie=cookie(alices), Authorization="Bearer nonsense"),
    ):
        assert (await socket.hear())["code"] == 401
        assert await socket.code() == 4401


async def test_a_session_counts_only_for_a_page_of_ours(
    talk: Open, alices: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://partner.example"]
    monkeypatch.setattr(sockets, "AUTH_WITHIN", 0.2)

    for headers in ({"Origin": "https://partner.example"}, {}):
        assert await (await talk(Cookie=cookie(alices), **headers)).code() == 4401


async def test_a_page_that_cors_names_comes_with_a_key(talk: Open, key: str, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://partner.example"]
    socket = await talk(Origin="https://partner.example")

    assert (await socket.ask("auth", token=key))["type"] == "accepted"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://testserver:9999", "null", ""])
async def test_a_page_of_elsewhere_gets_no_socket(key: str, origin: str) -> None:
    socket = Talk({"x-api-key": key, "Origin": origin})

    assert not (await socket.raw.connect(PATIENCE))[0]


@pytest.mark.parametrize("change", ["expired key", "deactivated", "revoked token", "signed out"])
async def test_it_is_closed_soon_after_they_are_nobody_any_more(
    talk: Open, alice: User, key: str, alices: Client, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(sockets, "BEAT", 0.1)
    pair = await in_database(tokens.issue, alice)
    socket = await {
        "revoked token": lambda: talk(Authorization=f"Bearer {pair.access}"),
        "signed out": lambda: talk(Origin=OURS, Cookie=cookie(alices)),
    }.get(change, lambda: talk(key))()
    assert (await socket.ask("ping"))["type"] == "pong"

    happen = {
        "expired key": lambda: ApiKey.objects.update(expires_at=timezone.now()),
        "deactivated": lambda: User.objects.update(is_active=False),
        "revoked token": lambda: TokenFamily.objects.update(revoked_at=timezone.now()),
        "signed out": alices.logout,
    }[change]
    await in_database(happen)

    assert await socket.code() == 4401


async def test_a_key_that_ended_does_nothing_even_before_the_next_look(
    talk: Open, key: str, assistant: object
) -> None:
    socket = await talk(key)
    await socket.ask("ping")
    await in_database(ApiKey.objects.update, expires_at=timezone.now() - timedelta(seconds=1))

    assert (await socket.ask("send", message="hi"))["code"] == 401
    assert await socket.code() == 4401
    assert not await in_database(Run.objects.exists)


async def test_a_token_is_followed_by_the_next_one_of_the_same_person(
    talk: Open, alice: User, carol: User
) -> None:
    first = await in_database(tokens.issue, alice)
    socket = await talk(Authorization=f"Bearer {first.access}")
    await socket.ask("ping")
    await in_database(TokenFamily.objects.update, expires_at=timezone.now())
    second = await in_database(tokens.issue, alice)

    assert (await socket.ask("auth", token=second.access))["type"] == "accepted"
    assert (await socket.ask("ping"))["type"] == "pong"

    await socket.say("auth", token=await in_database(key_of, carol))
    assert await socket.code() == 4401


# Saying something, and hearing what comes of it


async def test_a_message_begins_a_session_that_is_told_from_its_first_event(
    talk: Open, key: str, assistant: object
) -> None:
    socket = await talk(key)

    answer = await socket.ask("send", message="Refund it")

    thread = await in_database(Thread.objects.get)
    run = await in_database(Run.objects.get)
    ids = {"session_id": str(thread.pk), "run_id": str(run.pk)}
    assert answer == {"type": "accepted", "ref": "r", "of": "send", **ids, "is_again": False}
    worker = Worker(thread)

    def turn() -> None:
        claimed = worker.start(run)
        worker.stream(claimed, "a", "Let me ", "see.")
        worker.say(claimed, "a", "Let me see.")
        claimed.finish(RunStatus.SUCCESS)

    await in_database(turn)
    heard = await socket.until("end")

    names = [frame["event"] for frame in heard]
    assert names == ["message", "run", "run", "message_started", "token", "token", "message", "end"]
    places = [events.position(frame["id"]) for frame in heard]
    assert places == sorted(set(places))
    assert {frame["session_id"] for frame in heard} == {str(thread.pk)}
    assert heard[-1]["data"]["answer"] == "Let me see."


async def test_what_a_socket_tells_is_what_the_stream_tells(
    talk: Open, alice: User, key: str, worker: Worker
) -> None:
    def turn() -> None:
        run = worker.begin("Refund it")
        worker.stream(run, "a", "Let me ", "see.")
        worker.say(run, "a", "Let me see.")
        run.finish(RunStatus.SUCCESS)

    await in_database(turn)
    socket = await talk(key)
    await socket.ask("resume", session_id=str(worker.thread.pk), after="0")
    heard = await socket.until("end")

    def listen() -> list[Any]:
        path = f"/events/{worker.thread.pk}"
        return streamed(Program(key).call("GET", path, **{"Last-Event-ID": "0"}), stop="end")

    assert [(frame["event"], frame["data"], frame["id"]) for frame in heard] == await in_database(listen)


async def test_the_same_frame_again_is_the_same_run(talk: Open, key: str, assistant: object) -> None:
    socket = await talk(key)
    first = await socket.ask("send", message="hi", idempotency_key="k1")

    again = await (await talk(key)).ask("send", message="hi", idempotency_key="k1")
    other = await socket.ask("send", message="hello", idempotency_key="k1")

    assert (again["run_id"], again["is_again"]) == (first["run_id"], True)
    assert other["code"] == 422
    assert await in_database(Run.objects.count) == 1


async def test_who_comes_back_gets_what_they_missed_once(talk: Open, key: str, worker: Worker) -> None:
    run = await in_database(worker.begin)
    socket = await talk(key)
    await socket.ask("resume", session_id=str(worker.thread.pk), after="0")
    await in_database(worker.stream, run, "a", "1 ", "2 ")
    heard = await socket.until("token")
    heard += await socket.until("token")
    await socket.raw.disconnect()
    await in_database(worker.stream, run, "a", "3 ", "4 ")

    again = await talk(key)
    await again.ask("resume", session_id=str(worker.thread.pk), after=heard[-1]["id"])
    await in_database(worker.stream, run, "a", "5 ")
    rest = [await again.hear() for _ in range(3)]

    assert "".join(frame["data"]["text"] for frame in heard[-2:] + rest) == "1 2 3 4 5 "


async def test_a_socket_begins_with_how_it_stands_where_nothing_says_from_when(
    talk: Open, key: str, worker: Worker
) -> None:
    run = await in_database(worker.begin, "Refund it")
    await in_database(worker.stream, run, "a", "Let me ")
    socket = await talk(key)
    await socket.ask("resume", session_id=str(worker.thread.pk))

    state = await socket.hear()
    await in_database(worker.stream, run, "a", "see.")
    more = await socket.hear()

    assert state["event"] == "session"
    assert [message["text"] for message in state["data"]["streaming"]] == ["Let me "]
    assert more["data"]["text"] == "see."


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_lost_log_is_answered_from_the_database(
    talk: Open, key: str, worker: Worker, when: str
) -> None:
    run = await in_database(worker.begin)
    cursor = (await in_database(worker.log))[-1]["id"]
    await in_database(worker.say, run, "a", "said before")
    socket = await talk(key)
    if when == "meanwhile":
        await socket.ask("resume", session_id=str(worker.thread.pk), after="0")
        await socket.until("message")
    await in_database(worker.forget)
    await in_database(worker.announce, "snapshot", run, key="0" * 16, text="so far")
    if when == "before":
        await socket.ask("resume", session_id=str(worker.thread.pk), after=cursor)

    state = (await socket.until("session"))[-1]["data"]

    assert "said before" in [message["text"] for message in state["messages"]]
    assert [message["text"] for message in state["streaming"]] == ["so far"]


async def test_resume_again_begins_again_and_tells_nothing_twice(
    talk: Open, key: str, worker: Worker
) -> None:
    run = await in_database(worker.begin)
    socket = await talk(key)
    session = str(worker.thread.pk)
    await socket.ask("resume", session_id=session, after="0")
    last = (await in_database(worker.log))[-1]["id"]
    await socket.ask("resume", session_id=session, after=last)
    await in_database(worker.stream, run, "a", "one")

    heard = await socket.until("token")

    assert told(heard) == [
        (name, id) for name, id in told(heard) if events.position(id) > events.position(last)
    ]
    assert await socket.raw.receive_nothing(0.3)


async def test_who_leaves_a_session_hears_no_more_of_it(talk: Open, key: str, worker: Worker) -> None:
    run = await in_database(worker.begin)
    socket = await talk(key)
    await socket.ask("resume", session_id=str(worker.thread.pk), after="0")
    await socket.ask("leave", session_id=str(worker.thread.pk))
    await in_database(worker.stream, run, "a", "one")

    assert await socket.raw.receive_nothing(0.4)


async def test_a_session_in_which_nothing_goes_on_is_still_listened_to(
    talk: Open, key: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.05)
    monkeypatch.setattr(watching, "IDLE", 0.1)
    socket = await talk(key)
    await socket.ask("resume", session_id=str(worker.thread.pk), after="0")
    await asyncio.sleep(0.5)

    await in_database(worker.begin, "Still there?")

    assert (await socket.until("message"))[-1]["data"]["text"] == "Still there?"


async def test_a_deleted_session_is_told_of_no_more_and_the_socket_goes_on(
    talk: Open, key: str, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.05)
    socket = await talk(key)
    await socket.ask("resume", session_id=str(thread.pk), after="0")
    await in_database(Thread.objects.update, deleted_at=timezone.now())

    error = await socket.hear()

    assert (error["code"], error["session_id"]) == (404, str(thread.pk))
    assert (await socket.ask("ping"))["type"] == "pong"


async def test_stop_ends_the_run_at_once(talk: Open, key: str, worker: Worker) -> None:
    run = await in_database(worker.ask)
    socket = await talk(key)

    answer = await socket.ask("stop", run_id=str(run.pk))

    assert (answer["of"], answer["run_id"]) == ("stop", str(run.pk))
    await in_database(run.refresh_from_db)
    assert run.status == RunStatus.CANCELLED
    assert (await socket.ask("stop", run_id=str(run.pk)))["code"] == 409


# Who may what


async def test_a_stranger_gets_nothing_of_anothers(talk: Open, carol: User, worker: Worker) -> None:
    run = await in_database(worker.begin)
    call = await in_database(worker.call, run)
    socket = await talk(await in_database(key_of, carol))
    session, decision = str(worker.thread.pk), {"type": "approve", "digest": "-"}

    assert (await socket.ask("resume", session_id=session))["code"] == 404
    assert (await socket.ask("send", session_id=session, message="hi"))["code"] == 404
    assert (await socket.ask("stop", run_id=str(run.pk)))["code"] == 404
    assert (await socket.ask("decide", tool_call_id=str(call.pk), decision=decision))["code"] == 403
    assert await in_database(Run.objects.count) == 1
    assert not await in_database(Run.objects.filter(cancel_requested_at__isnull=False).exists)


async def test_a_key_does_what_its_scopes_say(talk: Open, alice: User, bob: User, worker: Worker) -> None:
    run = await in_database(worker.begin)
    call = await in_database(worker.call, run)
    decision = {"type": "approve", "digest": "-"}
    to_approve = await talk(await in_database(key_of, alice, Scope.APPROVE))
    to_chat = await talk(await in_database(key_of, alice, Scope.CHAT))
    bobs = await talk(await in_database(key_of, bob, Scope.CHAT))

    assert (await to_approve.ask("send", message="hi"))["code"] == 403
    assert (await to_approve.ask("resume", session_id=str(worker.thread.pk)))["code"] == 403
    assert (await to_approve.ask("stop", run_id=str(run.pk)))["code"] == 403
    for socket in (to_chat, bobs):
        assert (await socket.ask("decide", tool_call_id=str(call.pk), decision=decision))["code"] == 403
    assert (await bobs.ask("send", message="hi"))["code"] == 403  # his role may not


# What is refused


@pytest.mark.parametrize(
    "text",
    [" ", "nonsense", "[]", "null", '{"type": "nonsense"}', '{"type": "ping", "x": 1}', "[" * 5000,
     '{"type": "send"}', '{"type": "send", "message": " "}', '{"type": "ping", "type": "send"}',
     '{"type": "send", "message": "a\\u0000"}', '{"type": "resume", "session_id": 1}'],
)  # fmt: skip
async def test_a_frame_that_is_none_is_refused_and_the_socket_goes_on(
    talk: Open, key: str, text: str
) -> None:
    socket = await talk(key)
    await socket.raw.send_to(text)

    assert (await socket.hear())["code"] == 422
    assert (await socket.ask("ping"))["type"] == "pong"


async def test_a_refusal_never_repeats_what_was_sent(talk: Open, key: str) -> None:
    socket = await talk(key)

    await socket.raw.send_to(json.dumps({"type": "auth", "token": ["cs_secret"], "ref": "mine"}))
    error = await socket.hear()

    assert (error["code"], error["ref"]) == (422, "mine")
    assert "cs_secret" not in json.dumps(error)


async def test_bytes_are_no_frame(talk: Open, key: str) -> None:
    socket = await talk(key)
    await socket.raw.send_to(bytes_data=b"{}")

    assert await socket.code() == 1003


async def test_a_frame_has_a_length(talk: Open, key: str) -> None:
    socket = await talk(key)
    await socket.raw.send_to("x" * (sockets.FRAME_CHARS + 1))

    assert await socket.code() == 1009


async def test_who_floods_is_closed_and_what_had_come_is_not_done(
    talk: Open, key: str, assistant: object
) -> None:
    socket = await talk(key)
    for _ in range(sockets.FRAMES_AT_ONCE + 5):
        await socket.say("send", message="hi")

    assert await socket.code() == 4429
    assert await in_database(Run.objects.count) < sockets.FRAMES_AT_ONCE


@pytest.mark.parametrize(("room", "length"), [("KEPT_FRAMES", 1), ("KEPT_CHARS", 1_000)])
async def test_frames_that_wait_for_a_slow_reader_are_bounded(
    room: str, length: int, talk: Open, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly they come: the pace is kept."""
    monkeypatch.setattr(sockets, "FRAMES_AT_ONCE", 10_000)
    monkeypatch.setattr(sockets, room, 5 * length)
    carry_out, reads = sockets.ProgramConsumer._carry_out, asyncio.Event()

    async def waits(consumer: sockets.ProgramConsumer, text: str) -> int:
        await reads.wait()
        return await carry_out(consumer, text)

    monkeypatch.setattr(sockets.ProgramConsumer, "_carry_out", waits)
    socket = await talk(key)
    frame = json.dumps({"type": "ping", "ref": ""})
    for _ in range(8):
        await socket.raw.send_to(frame + " " * (length - len(frame)))

    assert await socket.code() == 4429
    reads.set()


async def test_sockets_of_pages_and_programs_are_counted_together(
    talk: Open, key: str, alices: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.chat.consumers.SOCKETS_EACH", 2)
    first, second = await talk(key), await talk(Origin=OURS, Cookie=cookie(alices))
    for socket in (first, second):
        await socket.ask("ping")

    assert await (await talk(key)).code() == 4429

    await first.raw.disconnect()
    assert (await (await talk(key)).ask("ping"))["type"] == "pong"


async def test_one_person_listens_to_so_many_sessions_and_no_more(
    talk: Open, key: str, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "STREAMS_EACH", 1)
    other = await in_database(
        Thread.objects.create, owner=thread.owner, assistant=await in_database(lambda: thread.assistant)
    )
    socket = await talk(key)
    await socket.ask("resume", session_id=str(thread.pk))

    assert (await socket.ask("resume", session_id=str(other.pk)))["code"] == 429
    assert (await socket.ask("resume", session_id=str(thread.pk)))["type"] == "accepted"
    await socket.ask("leave", session_id=str(thread.pk))
    assert (await socket.ask("resume", session_id=str(other.pk)))["type"] == "accepted"


async def test_while_the_database_is_away_a_frame_is_refused_and_the_socket_stays(
    talk: Open, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await talk(key)
    await socket.ask("ping")
    real = keys.key_of

    def away(text: str) -> ApiKey:
        raise OperationalError("gone")

    monkeypatch.setattr(keys, "key_of", away)
    answer = await socket.ask("send", message="hi")
    monkeypatch.setattr(keys, "key_of", real)

    assert (answer["code"], answer["retry_after"]) == (503, 5)
    assert (await socket.ask("ping"))["type"] == "pong"
