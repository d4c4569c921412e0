"""What a streamed token costs the process that reads it: ChatOpenAI as it is, and ours, in turns, side by side."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import openai
import uvloop
from django.conf import settings
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import SecretStr

from benchmarks import stack  # noqa: F401  (puts platform/ on the path)

TOKENS = 100  # in one answer
PACE = 0.010  # seconds between two tokens
WARM_UP = 3  # answers, not measured
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", default="1,50,200", help="how many at once")
    parser.add_argument("--rounds", type=int, default=3, help="how many times each client is measured")


def run(*, streams: str, rounds: int) -> None:
    print(
        f"{TOKENS} tokens an answer, one each {PACE * 1000:.0f} ms, through graph.astream, no checkpointer; "
        f"the median of {rounds} rounds in turns\n"
    )
    print("| streams | client |  tokens/s | CPU a token | first token | added a token |")
    print("| ------: | ------ | --------: | ----------: | ----------: | ------------: |")
    with endpoint() as base_url:
        for count in map(int, streams.split(",")):
            measured: dict[str, list[Measured]] = {name: [] for name in CLIENTS}
            for _ in range(rounds):
                for name in CLIENTS:
                    measured[name].append(in_new_loop(measure(name, base_url, count)))
            for name, found in measured.items():
                print(f"| {count:7} | {name} | {row(found)} |", flush=True)


@dataclass
class Measured:
    """One round of one client."""

    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of this process."""
    tokens: int = 0
    first: list[float] = field(default_factory=list)
    """Seconds from the call to the first token of each answer."""
    added: list[float] = field(default_factory=list)
    """Seconds from the endpoint's sending a token to its coming out of the graph."""


def row(found: list[Measured]) -> str:
    def median(of: Callable[[Measured], float]) -> float:
        return statistics.median(map(of, found))

    return " | ".join(
        [
            f"{median(lambda one: one.tokens / one.seconds):9,.0f}",
            f"{median(lambda one: one.cpu / one.tokens * 1e6):8.0f} us",
            f"{median(lambda one: statistics.median(one.first) * 1000):8.1f} ms",
            f"{median(lambda one: statistics.median(one.added) * 1000):10.1f} ms",
        ]
    )


async def measure(name: str, base_url: str, streams: int) -> Measured:
    """The streams begin spread over one answer, and each gives three, one after the other."""
    async with contextlib.AsyncExitStack() as ends:
        graph = graph_of(CLIENTS[name](base_url, ends))
        for _ in range(WARM_UP):
            await answer(graph, Measured())
        measured = Measured()
        gc.collect()
        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(answers(graph, measured, at / streams) for at in range(streams)))
        measured.cpu, measured.seconds = time.process_time() - cpu, time.perf_counter() - began
    return measured


async def answers(graph: Graph, measured: Measured, at: float) -> None:
    await asyncio.sleep(TOKENS * PACE * at)
    for _ in range(3):
        await answer(graph, measured)


async def answer(graph: Graph, measured: Measured) -> None:
    """Each token is the time it was sent at."""
    asked = time.monotonic()
    is_first = True
    async for mode, data in graph.astream(
        {"messages": [HumanMessage("go on")]}, stream_mode=["messages", "updates"]
    ):
        chunk: Any = data[0] if mode == "messages" else None
        if chunk is not None and (sent := chunk.text.split()):
            now = time.monotonic()
            if is_first:
                measured.first.append(now - asked)
                is_first = False
            measured.added += [now - float(at) for at in sent]
            measured.tokens += len(sent)


Graph = CompiledStateGraph[Any, Any, Any, Any]


def graph_of(model: ChatOpenAI) -> Graph:
    async def reply(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(reply).add_edge(START, "reply").compile()


def stock(base_url: str, ends: contextlib.AsyncExitStack) -> ChatOpenAI:
    model = ChatOpenAI(
        model="bench",
        base_url=base_url,
        api_key=SecretStr("bench"),
        http_async_client=openai.DefaultAsyncHttpxClient(),
        stream_usage=True,
        streaming=True,
    )
    ends.push_async_callback(model.root_async_client.close)
    return model


def ours(base_url: str, ends: contextlib.AsyncExitStack) -> ChatOpenAI:
    if not settings.configured:
        limits = {"MODEL_CONNECT_TIMEOUT": 5.0, "MODEL_IDLE_TIMEOUT": 30.0, "MODEL_TIME_LIMIT": 300.0}
        settings.configure(OPENAI_MODEL="bench", OPENAI_BASE_URL=base_url, OPENAI_API_KEY="bench", **limits)
    from runtime import llm

    ends.push_async_callback(llm.close)
    return llm.chat_model()


CLIENTS: dict[str, Callable[[str, contextlib.AsyncExitStack], ChatOpenAI]] = {"stock": stock, "ours ": ours}


def in_new_loop(measuring: Coroutine[Any, Any, Measured]) -> Measured:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measuring)


@contextlib.contextmanager
def endpoint() -> Iterator[str]:
    """The base URL of a streaming endpoint in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.model_stream"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.terminate()


class Endpoint(asyncio.Protocol):
    """Answers every request with the same stream, one write a token, whatever was asked."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._loop = asyncio.get_running_loop()
        self._request = b""

    def data_received(self, data: bytes) -> None:
        self._request += data
        head, blank, body = self._request.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
        if blank and len(body) >= int(length):
            self._request = b""
            self._transport.write(HEAD + self._piece(b'{"role":"assistant","content":""}'))
            self._began = self._loop.time()
            self._sent = 0
            self._later()

    def _later(self) -> None:
        self._loop.call_at(self._began + PACE * (self._sent + 1), self._send)

    def _send(self) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._piece(b'{"content":"%.6f "}' % time.monotonic()))
        self._sent += 1
        if self._sent < TOKENS:
            self._later()
        else:
            self._transport.write(END)

    def _piece(self, delta: bytes) -> bytes:
        return chunked(EVENT.replace(b"{}", delta, 1))


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(*, choices: list[Any], usage: Any = None) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    text = json.dumps({**head, "system_fingerprint": "fp", "choices": choices, "usage": usage})
    return b"data: %b\n\n" % text.encode()


CHOICE = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
EVENT = event(choices=[CHOICE])
USAGE = {"prompt_tokens": 5, "completion_tokens": TOKENS, "total_tokens": 5 + TOKENS}
END = b"".join(
    [
        chunked(event(choices=[{**CHOICE, "finish_reason": "stop"}])),
        chunked(event(choices=[], usage=USAGE)),
        chunked(b"data: [DONE]\n\n"),
        b"0\r\n\r\n",
    ]
)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
