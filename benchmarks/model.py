"""A model endpoint for hundreds of streams at once: OpenAI's streamed chat completions, at a steady pace.

One process, one loop, one timer: each tick writes what is due on a tenth of the streams. A tick that comes late
writes all that is due by then, as a provider would not slow down for us either.

    python -m benchmarks.model [--tokens 100] [--pace 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

import uvloop

from benchmarks import stamps

PHASES = 10  # groups of streams that take turns, so that no tick has to write to all of them
TOKENS = 100
PACE = 10.0  # milliseconds
NAME = "bench-model"

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"
PLACE = "@" * len(stamps.stamp(0))  # where a token's text goes


@dataclass(frozen=True)
class Pace:
    tokens: int
    seconds: float
    """Between two tokens of a stream; 0 sends all of them at once."""


def chunk(body: bytes) -> bytes:
    """`body` as one chunk of HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(body), body)


def event(data: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode()


@dataclass
class Answer:
    """One completion as the bytes that stand around its tokens."""

    request: dict[str, Any]
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def begin(self) -> bytes:
        return chunk(self._choice({"role": "assistant", "content": "", "refusal": None}))

    def around_a_token(self) -> tuple[bytes, bytes]:
        before, _, after = chunk(self._choice({"content": PLACE})).partition(PLACE.encode())
        return before, after

    def end(self, tokens: int) -> bytes:
        last = chunk(self._choice({}, "stop"))
        if self._wants_usage():
            usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
            last += chunk(event({**self._frame(), "choices": [], "usage": usage}))
        return last + chunk(DONE) + b"0\r\n\r\n"

    def _choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._wants_usage() else {}
        return event({**self._frame(), "choices": [choice], **usage})

    def _frame(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.request.get("model", NAME),
            "service_tier": "default",
            "system_fingerprint": "fp_bench",
        }

    def _wants_usage(self) -> bool:
        return bool((self.request.get("stream_options") or {}).get("include_usage"))


class Stream:
    """One answer on its way out of one connection."""

    def __init__(self, transport: asyncio.Transport, answer: Answer, pace: Pace) -> None:
        self._transport = transport
        self._answer = answer
        self._pace = pace
        self._before, self._after = answer.around_a_token()
        self._sent = 0
        self._started = time.monotonic()
        transport.write(HEAD + answer.begin())

    def advance(self, now: float, token: bytes) -> bool:
        """Writes what is due at `now`; True when that was the last of it."""
        if self._transport.is_closing():
            return True
        due = self._pace.tokens
        if self._pace.seconds:
            due = min(due, 1 + int((now - self._started) / self._pace.seconds))
        if due == self._sent:
            return False
        fresh = (self._before + token + self._after) * (due - self._sent)
        self._sent = due
        if due < self._pace.tokens:
            self._transport.write(fresh)
            return False
        self._transport.write(fresh + self._answer.end(due))
        return True


class Clock:
    """The one timer: it writes to one group of streams after the other, to each once in a stream's pace."""

    def __init__(self, pace: Pace) -> None:
        self._tick = max(pace.seconds / PHASES, 0.001)
        self._groups: list[set[Stream]] = [set() for _ in range(PHASES)]
        self._number = 0  # of the newest tick
        self._is_on = False

    def add(self, stream: Stream) -> None:
        """The first token goes out at once, the others from now on, each just after it is due."""
        if stream.advance(time.monotonic(), stamps.stamp(stamps.now()).encode()):
            return
        self._groups[(self._current() + 1) % PHASES].add(stream)
        if not self._is_on:
            self._is_on = True
            self._number = self._current()
            self._next()

    def _current(self) -> int:
        return int(asyncio.get_running_loop().time() / self._tick)

    def _next(self) -> None:
        # Whole rounds that were missed are left out; no group is, however late it has become.
        self._number += max(0, self._current() - self._number) // PHASES * PHASES
        self._number += next(step for step in range(1, PHASES + 1) if self._group(self._number + step))
        asyncio.get_running_loop().call_at(self._number * self._tick, self._write)

    def _group(self, number: int) -> set[Stream]:
        return self._groups[number % PHASES]

    def _write(self) -> None:
        streams = self._group(self._number)
        now, token = time.monotonic(), stamps.stamp(stamps.now()).encode()
        streams -= {stream for stream in streams if stream.advance(now, token)}
        self._is_on = any(self._groups)
        if self._is_on:
            self._next()


class Connection(asyncio.Protocol):
    """HTTP as far as clients of this API speak it: kept alive, bodies with a length."""

    def __init__(self, clock: Clock, pace: Pace) -> None:
        self._clock = clock
        self._pace = pace
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, rest = self._read.partition(b"\r\n\r\n")
        length = _length(head)
        if found and len(rest) >= length:
            self._read = rest[length:]
            self._answer(head, rest[:length])

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET "):  # the list of models, for whoever looks whether this is well
            self._refuse(b"200 OK", b'{"object":"list","data":[]}')
            return
        request = json.loads(body)
        if not request.get("stream"):
            self._refuse(b"400 Bad Request", b'{"error":{"message":"Only streams are served here."}}')
            return
        self._clock.add(Stream(self._transport, Answer(request), self._pace))

    def _refuse(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, len(body)) + body)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def serve(pace: Pace) -> None:
    clock = Clock(pace)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(clock, pace), "127.0.0.1", 0, backlog=2048)
    host, port = server.sockets[0].getsockname()
    print(f"Model on http://{host}:{port}/v1", flush=True)
    await server.serve_forever()


@dataclass(frozen=True)
class Endpoint:
    pid: int
    base_url: str

    @property
    def environment(self) -> dict[str, str]:
        """For the product."""
        return {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": "bench", "OPENAI_MODEL": NAME}

    @property
    def where(self) -> dict[str, str]:
        """For ChatOpenAI."""
        return {"base_url": self.base_url, "api_key": "bench", "model": NAME}


@contextmanager
def running(*, tokens: int = TOKENS, pace: float = PACE) -> Iterator[Endpoint]:
    """The endpoint in a process of its own; `pace` in milliseconds."""
    argv = [sys.executable, "-m", "benchmarks.model", "--tokens", str(tokens), "--pace", str(pace)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the model endpoint has no output")
            yield Endpoint(process.pid, process.stdout.readline().split()[-1])
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.model")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--pace", type=float, default=PACE, metavar="MS", help="between two tokens")
    options = parser.parse_args()
    uvloop.run(serve(Pace(options.tokens, options.pace / 1000)))


if __name__ == "__main__":
    main()
