"""One contract for every way an answer is delivered in, on the running product: web, worker, model endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from accounts.models import User
from accounts.scopes import Scope
from django.conf import settings
from django.test import Client
from runtime import decisions
from runtime.events import position
from runtime.models import Message, Role, Run, RunStatus, Thread, ToolCall, ToolState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.chat.langgraph.conftest import key_of
from tests.support.demo import DemoModel
from tests.support.page import Page, fresh
from tests.support.processes import until
from tests.support.product import Product, running

pytestmark = pytest.mark.django_db(transaction=True)

STORY, REFUND = "Tell me a long story", "Refund order 1042"
PATIENCE = 30.0  # seconds
API = "/api/v1"


@dataclass
class Heard:
    """What a client has heard of the turns of a session."""

    run_id: str = ""
    session_id: str = ""
    events: list[Any] = field(default_factory=list)
    """(name, data, id) of each, where the way has events."""
    answer: str | None = None
    status: str = ""

    @property
    def ids(self) -> list[str]:
        return [event[2] for event in self.events]


def stops_after(count: int | None) -> Callable[[list[Any]], bool]:
    return lambda events: count is not None and len(events) >= count


class Way:
    """A client. `ask` begins a turn and hears it until its end, or `events` of it; `go_on` hears what comes then."""

    has_events: ClassVar[bool] = True
    nowhere: ClassVar[int] = 404

    def __init__(self, product: Product, user: User) -> None:
        self.url = product.url
        self.user = user
        key = key_of(user, Scope.CHAT)
        self.http = httpx.Client(base_url=product.url, headers={"x-api-key": key}, timeout=PATIENCE)

    def ask(self, text: str, events: int | None = None) -> Heard:
        raise NotImplementedError

    def go_on(self, heard: Heard, events: int | None = None) -> Heard:
        """Adds what comes after what was heard."""
        raise NotImplementedError

    def join(self, heard: Heard) -> Heard:
        """Another client hears all of the same turn."""
        raise NotImplementedError

    def look(self, heard: Heard) -> int:
        """The status, or the close code, that somebody gets who asks for what was heard."""
        raise NotImplementedError

    def told(self, heard: Heard, row: Message) -> str:
        """The text of that message as it came in pieces."""
        pieces = [data for name, data, _ in heard.events if name == "token"]
        return "".join(piece["text"] for piece in pieces if piece["message_id"] == row.key)

    def _post(self, path: str, body: Any, *codes: int) -> Any:
        answer = self.http.post(f"{API}{path}", json=body)
        assert answer.status_code in codes, answer.text
        return answer

    def _stream(
        self,
        heard: Heard,
        method: str,
        path: str,
        body: Any = None,
        *,
        stop: Callable[[list[Any]], bool],
        after: str | None = None,
    ) -> None:
        headers = {} if after is None else {"Last-Event-ID": after}
        with self.http.stream(method, path, json=body, headers=headers) as response:
            assert response.status_code == 200, response.read()
            new: list[Any] = []
            for event in server_sent(response.iter_lines()):
                new.append(event)
                if event[0] == "end" or stop(new):
                    break
        heard.events += new


def server_sent(lines: Iterator[str]) -> Iterator[Any]:
    block: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, text = line.partition(": ")
            block[name] = text
        elif not line:
            if "event" in block:
                yield block["event"], json.loads(block["data"]), block["id"]
            block = {}


class Waiting(Way):
    """One request, and the whole answer."""

    has_events = False

    def ask(self, text: str, events: int | None = None) -> Heard:
        timeout = PATIENCE if events is None else 0
        return self._told(self._post("/chat", {"message": text, "timeout": timeout}, 200, 202))

    def go_on(self, heard: Heard, events: int | None = None) -> Heard:
        """`Location` is where to look."""
        task = polled(self.http, heard.run_id)
        return Heard(heard.run_id, heard.session_id, [], task["result"], task["status"])

    def look(self, heard: Heard) -> int:
        return self.http.post(
            f"{API}/chat", json={"message": "a", "session_id": heard.session_id}
        ).status_code

    def _told(self, response: httpx.Response) -> Heard:
        said = response.json()
        is_over = said["status"] == "success"
        assert response.status_code == (200 if is_over else 202)
        assert is_over or response.headers["Location"] == f"{API}/tasks/{said['run_id']}"
        return Heard(said["run_id"], said["session_id"], [], said["answer"], said["status"])


class Polling(Way):
    """In the background, asked after now and then."""

    has_events = False

    def ask(self, text: str, events: int | None = None) -> Heard:
        begun = self._post("/tasks", {"topic": text}, 202)
        heard = Heard(begun.json()["task_id"], begun.json()["session_id"])
        assert begun.headers["Location"] == f"{API}/tasks/{heard.run_id}"
        return heard if events is not None else self.go_on(heard)

    def go_on(self, heard: Heard, events: int | None = None) -> Heard:
        task = polled(self.http, heard.run_id)
        return Heard(heard.run_id, heard.session_id, [], task["result"], task["status"])

    def look(self, heard: Heard) -> int:
        return self.http.get(f"{API}/tasks/{heard.run_id}").status_code


def polled(http: httpx.Client, task_id: str) -> Any:
    found: list[Any] = []

    def has_ended() -> bool:
        found.append(http.get(f"{API}/tasks/{task_id}").json())
        return found[-1]["status"] not in ("pending", "running")

    until(has_ended, seconds=PATIENCE)
    return found[-1]


class Streaming(Way):
    """Server-sent events of the request that asks; whoever loses them goes on with the session's."""

    def ask(self, text: str, events: int | None = None) -> Heard:
        heard = Heard()
        self._stream(heard, "POST", f"{API}/chat/stream", {"message": text}, stop=stops_after(events))
        return self._summed(heard)

    def go_on(self, heard: Heard, events: int | None = None) -> Heard:
        path = f"{API}/events/{heard.session_id}"
        self._stream(heard, "GET", path, stop=stops_after(events), after=heard.ids[-1])
        return self._summed(heard)

    def join(self, heard: Heard) -> Heard:
        other = Heard(session_id=heard.session_id)
        self._stream(other, "GET", f"{API}/events/{heard.session_id}", stop=stops_after(None), after="0")
        return self._summed(other)

    def look(self, heard: Heard) -> int:
        return self.http.get(f"{API}/events/{heard.session_id}").status_code

    def _summed(self, heard: Heard) -> Heard:
        run = next(data for name, data, _ in heard.events if name == "run")
        heard.run_id, heard.session_id = heard.run_id or run["run_id"], run["session_id"]
        name, data, _ = heard.events[-1]
        if name == "end":
            heard.answer, heard.status = data["answer"], data["status"]
        return heard


class Background(Streaming):
    """In the background, with the session's events: the way that is recommended."""

    def ask(self, text: str, events: int | None = None) -> Heard:
        begun = self._post("/tasks", {"topic": text}, 202).json()
        heard = Heard(begun["task_id"], begun["session_id"])
        self._stream(heard, "GET", begun["events"], stop=stops_after(events), after="0")
        return self._summed(heard)


class Socket(Way):
    """The page's own socket."""

    nowhere = 4404

    def __init__(self, product: Product, user: User) -> None:
        super().__init__(product, user)
        self.page = Page()
        browser = Client()
        browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        session = browser.cookies[settings.SESSION_COOKIE_NAME].value
        self.headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}", "Origin": self.url}

    def ask(self, text: str, events: int | None = None) -> Heard:
        said = self._post("/chat", {"message": text, "timeout": 0}, 202).json()
        return self._follow(Heard(said["run_id"], said["session_id"]), "0-0", events)

    def go_on(self, heard: Heard, events: int | None = None) -> Heard:
        return self._follow(heard, heard.ids[-1], events)

    def join(self, heard: Heard) -> Heard:
        return self._follow(Heard(heard.run_id, heard.session_id), "0-0", None)

    def look(self, heard: Heard) -> int:
        with self._socket(heard, "0-0") as socket, pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code

    def told(self, heard: Heard, row: Message) -> str:
        frames = [data for _, data, _ in heard.events if data.get("append") == f"message-{row.key}"]
        return "".join(frame["text"] for frame in frames)

    def _socket(self, heard: Heard, after: str) -> Any:
        url = f"{self.url.replace('http', 'ws')}/ws/threads/{heard.session_id}/?lang=en&after={after}"
        return connect(url, additional_headers=self.headers, compression=None, proxy=None, close_timeout=1)

    def _follow(self, heard: Heard, after: str, events: int | None) -> Heard:
        """Until the page shows all that there is and that nothing goes on."""
        stop, new = stops_after(events), []
        with self._socket(heard, after) as socket:
            while not stop(new) and not self._has_ended(heard):
                frame = json.loads(socket.recv(PATIENCE))
                self.page.take(frame)
                if "id" in frame:
                    new.append(("frame", frame, frame["id"]))
        heard.events += new
        if self._has_ended(heard):
            heard.status = self._status()
            assert self.page.items == fresh(Thread.objects.get(pk=heard.session_id))
            heard.answer = last_said(heard).content
        return heard

    def _status(self) -> str:
        found = [name for name in ("idle", "waiting") if f'data-status="{name}"' in self.page.composer]
        return {"idle": "success", "waiting": "interrupted"}[found[0]] if found else ""

    def _has_ended(self, heard: Heard) -> bool:
        newest = Run.objects.filter(thread=heard.session_id).order_by("-created_at")[0]
        rests = {RunStatus.SUCCESS: "success", RunStatus.WAITING: "interrupted"}
        if newest.is_active or self._status() != rests[RunStatus(newest.status)]:
            return False
        said = {f"message-{row.key}" for row in Message.objects.filter(thread=heard.session_id)}
        # The composer comes before the cards of its batch.
        called = {f"tool-call-{call.pk}" for call in ToolCall.objects.filter(thread=heard.session_id)}
        is_open = any("data-open" in item for item in self.page.items.values())
        return said | called <= self.page.items.keys() and not is_open


class ProgramSocket(Way):
    """JSON both ways over one connection."""

    def ask(self, text: str, events: int | None = None) -> Heard:
        with self._socket() as socket:
            socket.send(json.dumps({"type": "send", "message": text}))
            accepted = json.loads(socket.recv(PATIENCE))
            assert accepted["of"] == "send", accepted
            heard = Heard(accepted["run_id"], accepted["session_id"])
            return self._listen(socket, heard, events)

    def go_on(self, heard: Heard, events: int | None = None) -> Heard:
        return self._resume(heard, heard.ids[-1], events)

    def join(self, heard: Heard) -> Heard:
        return self._resume(Heard(heard.run_id, heard.session_id), "0", None)

    def look(self, heard: Heard) -> int:
        with self._socket() as socket:
            socket.send(json.dumps({"type": "resume", "session_id": heard.session_id}))
            return int(json.loads(socket.recv(PATIENCE)).get("code", 200))

    def _socket(self) -> Any:
        url = f"{self.url.replace('http', 'ws')}/ws/v1/"
        key = {"x-api-key": self.http.headers["x-api-key"]}
        return connect(url, additional_headers=key, compression=None, proxy=None, close_timeout=1)

    def _resume(self, heard: Heard, after: str, events: int | None) -> Heard:
        with self._socket() as socket:
            socket.send(json.dumps({"type": "resume", "session_id": heard.session_id, "after": after}))
            assert json.loads(socket.recv(PATIENCE))["of"] == "resume"
            return self._listen(socket, heard, events)

    def _listen(self, socket: Any, heard: Heard, events: int | None) -> Heard:
        stop, new = stops_after(events), []
        while not new or (new[-1][0] != "end" and not stop(new)):
            frame = json.loads(socket.recv(PATIENCE))
            assert (frame["type"], frame["session_id"]) == ("event", heard.session_id)
            new.append((frame["event"], frame["data"], frame["id"]))
        heard.events += new
        if new[-1][0] == "end":
            heard.answer, heard.status = new[-1][1]["answer"], new[-1][1]["status"]
        return heard


class LangGraph(Way):
    """The stream that LangGraph's clients know."""

    root = "/api/langgraph"

    def ask(self, text: str, events: int | None = None) -> Heard:
        thread = self.http.post(f"{self.root}/threads", json={}).json()["thread_id"]
        heard = Heard(session_id=thread)
        body = {
            "assistant_id": "shop",
            "input": {"messages": [{"role": "user", "content": text}]},
            "stream_mode": ["messages-tuple", "values"],
        }
        path = f"{self.root}/threads/{thread}/runs/stream"
        self._stream(heard, "POST", path, body, stop=stops_after(events))
        heard.run_id = heard.events[0][1]["run_id"]
        return self._summed(heard)

    def go_on(self, heard: Heard, events: int | None = None) -> Heard:
        """The run that goes on is one of its own, on the same thread."""
        runs = self.http.get(f"{self.root}/threads/{heard.session_id}/runs").json()
        path = f"{self.root}/threads/{heard.session_id}/runs/{runs[0]['run_id']}/stream"
        before = len(heard.events)
        self._stream(heard, "GET", path, stop=stops_after(events), after=heard.ids[-1])
        assert heard.events[before][0] == "metadata"
        del heard.events[before]  # each connection begins with it, with the id it goes on from
        return self._summed(heard)

    def join(self, heard: Heard) -> Heard:
        other = Heard(heard.run_id, heard.session_id)
        path = f"{self.root}/threads/{heard.session_id}/runs/{heard.run_id}/stream"
        self._stream(other, "GET", path, stop=stops_after(None), after="-1")
        return self._summed(other)

    def look(self, heard: Heard) -> int:
        path = f"{self.root}/threads/{heard.session_id}/runs/{heard.run_id}/stream"
        return self.http.get(path).status_code

    def told(self, heard: Heard, row: Message) -> str:
        pieces = [data[0] for name, data, _ in heard.events if name == "messages"]
        return "".join(piece["content"] for piece in pieces if piece["id"] == row.message_id)

    def _summed(self, heard: Heard) -> Heard:
        values = [data for name, data, _ in heard.events if name == "values"]
        if heard.events[-1][0] == "end" and values:
            heard.status = "interrupted" if "__interrupt__" in values[-1] else "success"
            heard.answer = values[-1]["messages"][-1]["content"]
        return heard


WAYS = [Waiting, Socket, Streaming, Polling, Background, LangGraph, ProgramSocket]
WITH_EVENTS = [way for way in WAYS if way.has_events]


@pytest.fixture(scope="module")
def shared_product(django_db_setup: None, django_db_blocker: Any, demo_model: DemoModel) -> Iterator[Product]:
    env = {"OPENAI_BASE_URL": demo_model.base_url, "OPENAI_MODEL": "demo-model"}
    with django_db_blocker.unblock(), running(**env) as product:
        yield product


@pytest.fixture
def product(
    shared_product: Product, transactional_db: None, order: object, rules: object, assistant: object
) -> Product:
    return shared_product


Connect = Callable[[type[Way], User], Way]


@pytest.fixture
def connect_as(product: Product) -> Iterator[Connect]:
    """A client of that kind, with that person's key."""
    with ExitStack() as stack:

        def make(way: type[Way], user: User) -> Way:
            client = way(product, user)
            stack.callback(client.http.close)
            return client

        yield make


def last_said(heard: Heard) -> Message:
    rows = Message.objects.filter(thread=heard.session_id, role=Role.AI)
    return rows.order_by("created_at", "pk").reverse()[0]


def in_order(ids: list[str], *, may_repeat: bool = False) -> bool:
    places = [position(id) for id in ids]
    return places == sorted(places if may_repeat else set(places))


@pytest.mark.parametrize("way", WAYS)
def test_the_whole_answer_comes_once_and_in_order(connect_as: Connect, alice: User, way: type[Way]) -> None:
    client = connect_as(way, alice)

    heard = client.ask(STORY)

    row = last_said(heard)
    assert (heard.status, heard.answer) == ("success", row.content)
    assert len(row.content) > 200
    if client.has_events:
        assert client.told(heard, row) == row.content
        # LangGraph's last frame has the id of what came before it.
        assert in_order(heard.ids[1:-1] if way is LangGraph else heard.ids)


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_where_a_person_is_asked_and_goes_on_after_the_decision(
    connect_as: Connect, alice: User, bob: User, way: type[Way]
) -> None:
    client = connect_as(way, alice)

    asked = client.ask(REFUND)
    assert asked.status in ("interrupted", "waiting")
    call = ToolCall.objects.get(state=ToolState.WAITING)
    before = list(asked.ids)
    decisions.decide(bob, call.pk, {"type": "approve"})
    heard = client.go_on(asked)

    row = last_said(heard)
    assert (heard.status, heard.answer) == ("success", row.content)
    call.refresh_from_db()
    assert call.state == ToolState.DONE
    if client.has_events:
        assert client.told(heard, row) == row.content
        assert position(heard.ids[len(before)]) > position(before[-1])


@pytest.mark.parametrize("way", WAYS)
def test_who_leaves_stops_nothing_and_finds_the_rest(
    connect_as: Connect, alice: User, way: type[Way]
) -> None:
    client = connect_as(way, alice)

    heard = client.ask(STORY, events=6)
    assert heard.status not in ("success", "error")
    if way is not LangGraph:  # whose clients join once more
        heard = client.go_on(heard, events=5)
    heard = client.go_on(heard)

    row = last_said(heard)
    assert Run.objects.get().status == RunStatus.SUCCESS
    assert heard.answer == row.content
    if client.has_events:
        assert client.told(heard, row) == row.content
        assert in_order(heard.ids[1:-1] if way is LangGraph else heard.ids)


@pytest.mark.parametrize("way", WITH_EVENTS)
def test_two_clients_hear_the_same(connect_as: Connect, alice: User, way: type[Way]) -> None:
    client = connect_as(way, alice)
    heard = client.ask(STORY)

    other = connect_as(way, alice).join(heard)

    row = last_said(heard)
    assert other.answer == heard.answer == row.content
    assert client.told(other, row) == client.told(heard, row) == row.content
    if way is not Socket:  # of what a page missed, only what it came to is drawn
        assert other.events == heard.events


@pytest.mark.parametrize("way", WAYS)
def test_a_stranger_hears_nothing(connect_as: Connect, alice: User, carol: User, way: type[Way]) -> None:
    heard = connect_as(way, alice).ask("hello")

    assert connect_as(way, carol).look(heard) == way.nowhere
    assert Thread.objects.get(pk=heard.session_id).runs.count() == 1


def test_the_client_of_the_howto_prints_the_answer(
    connect_as: Connect, alice: User, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect_as(ProgramSocket, alice)
    page = (Path(settings.BASE_DIR) / "docs/howto/websocket.md").read_text()
    source = page.partition("```python\n")[2].partition("```")[0]
    source = source.replace("ws://localhost:8000", client.url.replace("http", "ws"))
    source = source.replace("cs_…", client.http.headers["x-api-key"])

    exec(compile(source, "websocket.md", "exec"), {})

    said = Message.objects.get(role=Role.AI)
    assert capsys.readouterr().out == said.content
