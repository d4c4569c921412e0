"""The endpoint: routes, OpenAI's errors, and the loop that streams."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from embedded.demo_model import script
from embedded.demo_model.completions import Completion, count_tokens
from embedded.demo_model.exceptions import Abort, ApiError
from embedded.demo_model.faults import MODEL, Event, Faults
from embedded.demo_model.http import MAX_HEAD_BYTES, Connection, Request
from embedded.demo_model.schemas import JSONObject, Message
from embedded.demo_model.turn import read_turn, text_of

BACKLOG = 1024  # connections that may wait to be accepted
STARTED_AT = int(time.time())


@dataclass(frozen=True)
class ChatRequest:
    """The fields of a request that make a difference here; the rest is accepted and ignored."""

    model: str
    messages: list[Message]
    offered: frozenset[str]
    forced: str
    stream: bool
    include_usage: bool
    parallel: bool

    @classmethod
    def read(cls, body: JSONObject) -> ChatRequest:
        """ApiError 400 names what is missing or of the wrong type."""
        if body.get("n") not in (None, 1):
            raise ApiError(400, "The demo model gives one choice: n must be 1.")
        return cls(
            model=_field(body, "model", str),
            messages=_messages(body),
            offered=_offered(body),
            forced=_forced(body),
            stream=bool(body.get("stream")),
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            parallel=body.get("parallel_tool_calls") is not False,
        )


class Server:
    """Answers any number of connections; keeps nothing but the tally of faults asked for N times."""

    def __init__(self, *, delay: float) -> None:
        self._delay = delay
        self._tally: Counter[tuple[str, str, str]] = Counter()
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, host: str, port: int) -> None:
        """Listen until SIGTERM or SIGINT. Says where in one line, once it does."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server = await asyncio.start_server(self._accept, host, port, limit=MAX_HEAD_BYTES, backlog=BACKLOG)
        print(f"Demo model on http://{host}:{server.sockets[0].getsockname()[1]}/v1", flush=True)
        await stop.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio's would log a cancelled connection as an error.
        task = asyncio.create_task(self._converse(Connection(reader, writer)))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _converse(self, connection: Connection) -> None:
        try:
            await self._answer_all(connection)
        except (Abort, ConnectionError, asyncio.IncompleteReadError):
            connection.abort()
        finally:
            await connection.close()

    async def _answer_all(self, connection: Connection) -> None:
        try:
            while request := await connection.read_request():
                await self._answer(request, connection)
        except ApiError as error:
            await connection.send_json(error.as_json(), status=error.status, headers={"Connection": "close"})

    async def _answer(self, request: Request, connection: Connection) -> None:
        try:
            await self._route(request, connection)
        except ApiError as error:
            await connection.send_json(error.as_json(), status=error.status, headers=error.headers)

    async def _route(self, request: Request, connection: Connection) -> None:
        match request.method, request.path:
            case "GET", "/health":
                await connection.send_json({"status": "ok"})
            case "GET", "/v1/models":
                _check_key(request)
                await connection.send_json({"object": "list", "data": [_model()]})
            case "POST", "/v1/chat/completions":
                _check_key(request)
                await self._complete(request, connection)
            case _:
                where = f"{request.method} {request.path}"
                raise ApiError(404, f"Unknown request URL: {where}.", code="unknown_url")

    async def _complete(self, request: Request, connection: Connection) -> None:
        chat = ChatRequest.read(request.json())
        damage = Faults(chat.model, api_key=request.api_key, tally=self._tally)
        damage.check_status()
        completion = _completion(chat, damage)
        events = damage.spoil_events(_events(completion, chat, damage.delay(self._delay)))
        connection.start_clock()
        if chat.stream:
            await _stream(events, connection)
        else:
            await _send_whole(completion, events, connection)


def _completion(chat: ChatRequest, damage: Faults) -> Completion:
    try:
        turn = read_turn(chat.messages, chat.offered, chat.forced)
        prompt_tokens = count_tokens(map(text_of, chat.messages))
    except (AttributeError, KeyError, TypeError) as error:
        raise ApiError(400, "A field of 'messages' is missing or of the wrong type.") from error
    reply = damage.spoil_reply(script.decide(turn, parallel=chat.parallel))
    return Completion(reply, chat.model, prompt_tokens)


def _events(completion: Completion, chat: ChatRequest, delay: float) -> Iterator[Event]:
    """Each chunk after its pause, then "[DONE]" if the reply is finished."""
    for chunk in completion.chunks(include_usage=chat.include_usage):
        yield delay
        yield chunk
    if completion.reply.finish_reason is not None:
        yield b"data: [DONE]\n\n"


async def _stream(events: Iterator[Event], connection: Connection) -> None:
    started = False
    for event in events:
        if isinstance(event, float):
            await connection.pause(event)
            continue
        if not started:
            connection.start_stream()
            started = True
        await connection.send_chunk(event if isinstance(event, bytes) else _as_bytes(event))
    await connection.end_stream()


async def _send_whole(completion: Completion, events: Iterator[Event], connection: Connection) -> None:
    """The answer at once, when its last token would have come. An error event becomes an error."""
    for event in events:
        if isinstance(event, float):
            await connection.pause(event)
        elif isinstance(event, dict) and "error" in event:
            raise ApiError(500, str(event["error"]["message"]))
    await connection.send_json(completion.as_json())


def _as_bytes(event: JSONObject) -> bytes:
    return f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode()


def _check_key(request: Request) -> None:
    if not request.api_key:
        raise ApiError(401, "You didn't provide an API key. Any text will do: Authorization: Bearer demo")


def _model() -> JSONObject:
    return {"id": MODEL, "object": "model", "created": STARTED_AT, "owned_by": "countersign"}


def _messages(body: JSONObject) -> list[Message]:
    messages: list[Message] = _field(body, "messages", list)
    if not messages or not all(isinstance(message, dict) for message in messages):
        raise ApiError(400, "'messages' must be a list of at least one object.")
    return messages


def _offered(body: JSONObject) -> frozenset[str]:
    """The names of the tools that may be called now."""
    if body.get("tool_choice") == "none":
        return frozenset()
    with suppress(KeyError, TypeError):
        return frozenset(tool["function"]["name"] for tool in body.get("tools") or [])
    raise ApiError(400, "Each of 'tools' needs a function with a name.")


def _forced(body: JSONObject) -> str:
    """The name of the tool that has to be called, if one has to."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return ""
    with suppress(KeyError, TypeError):
        name = str(choice["function"]["name"])
        if name in _offered(body):
            return name
    raise ApiError(400, "'tool_choice' must name one of the tools.")


def _field(body: JSONObject, name: str, kind: type) -> Any:
    value = body.get(name)
    if not isinstance(value, kind):
        raise ApiError(400, f"'{name}' is missing or not of the type {kind.__name__}.")
    return value
