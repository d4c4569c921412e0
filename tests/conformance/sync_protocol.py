"""Event streaming v2 with Python's synchronous client, whose `threads.stream()` is an interface of its own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from langgraph_sdk import get_client, get_sync_client

LIMIT = 40.0  # seconds for what is heard beside
A = "shop"
CHANNELS: Any = ["values", "updates", "messages", "tools", "lifecycle", "checkpoints", "tasks"]


def connect(**headers: str) -> Any:
    return get_sync_client(url=os.environ["API_URL"], api_key=os.environ["API_KEY"], headers=headers)


def say(text: str) -> Any:
    return {"messages": [{"role": "user", "content": text}]}


def protocol() -> None:
    _turn()


def protocol_socket() -> None:
    _turn(transport="websocket", headers={"x-api-key": os.environ["API_KEY"]})


def _turn(**options: Any) -> None:
    client = connect()
    where = client.threads.create()["thread_id"]
    with (
        ThreadPoolExecutor(2) as pool,
        client.threads.stream(where, assistant_id=A, **options) as thread,
    ):
        hearing = pool.submit(lambda: list(thread.subscribe(CHANNELS)))
        telling = pool.submit(lambda: [str(message.text) for message in thread.messages])
        thread.run.start(input=say("where is order 1042?"))
        values, parts, texts = thread.output, hearing.result(LIMIT), telling.result(LIMIT)
    assert values["messages"][-1]["content"] == texts[-1]
    named = {"lifecycle", "messages", "values", "checkpoints", "updates", "tasks", "tools"}
    assert named <= {part["method"] for part in parts}
    tools = [part["params"]["data"]["event"] for part in parts if part["method"] == "tools"]
    assert tools == ["tool-started", "tool-finished"]
    assert _all_of(where, **options) == [part["event_id"] for part in parts]


def _all_of(where: str, **options: Any) -> list[str]:
    """What the asynchronous client hears: the synchronous one hears nothing before it has begun a run."""

    async def heard() -> list[str]:
        client = get_client(url=os.environ["API_URL"], api_key=os.environ["API_KEY"])
        async with client, client.threads.stream(where, assistant_id=A, **options) as thread:
            return [part["event_id"] async for part in thread.subscribe(CHANNELS)]

    return asyncio.run(heard())


def protocol_drop() -> None:
    client = connect()
    cut = connect(**{"x-cut-after": f"6000 once {uuid4()}"})
    where = client.threads.create()["thread_id"]
    with ThreadPoolExecutor(1) as pool, cut.threads.stream(where, assistant_id=A) as thread:
        hearing = pool.submit(lambda: [part["event_id"] for part in thread.subscribe(CHANNELS)])
        thread.run.start(input=say("tell me a long story"))
        parts = hearing.result(LIMIT)
    assert len(parts) > 20
    assert parts == _all_of(where), "not each event exactly once"


def protocol_interrupt() -> None:
    with connect().threads.stream(assistant_id=A) as thread:
        thread.run.start(input=say("refund 0.01 of order 1042"))
        deadline = time.monotonic() + LIMIT
        while not thread.interrupted:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # a synchronous client: nothing to wait on
        (asked,) = thread.interrupts
        assert asked["value"]["action_requests"][0]["name"] == "refund_order"
        thread.run.respond({"decisions": [{"type": "approve"}]})
        values = thread.output
    assert values["messages"][-1]["type"] == "ai"


SCENARIOS: dict[str, Callable[[], None]] = {
    "protocol": protocol,
    "protocolSocket": protocol_socket,
    "protocolDrop": protocol_drop,
    "protocolInterrupt": protocol_interrupt,
}
