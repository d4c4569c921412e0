"""The scenarios with Python's client: `python -m tests.conformance.python_client async`. A line of JSON for each.

The synchronous client is driven by the same scenarios: each call, and each part of a stream, in a thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import ConflictError, NotFoundError, PermissionDeniedError

from tests.conformance import sync_protocol
from tests.support.receiver import Receiver

LIMIT = 60.0  # seconds for one scenario
A = "shop"
MODES: Any = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "debug"]
CHANNELS = ["values", "updates", "messages", "tools", "lifecycle", "checkpoints", "tasks"]
EDITED = {"name": "refund_order", "args": {"order_number": 1042, "amount": "0.02", "reason": "Test"}}


class Awaited:
    """A synchronous client with the face of the asynchronous one."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._call(name, found) if callable(found) else Awaited(found)

    def _call(self, name: str, method: Any) -> Any:
        if "stream" in name:
            return lambda *args, **kwargs: _parts(method(*args, **kwargs))
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)


async def _parts(stream: Iterator[Any]) -> AsyncIterator[Any]:
    end = object()
    try:
        while (part := await asyncio.to_thread(next, stream, end)) is not end:
            yield part
    finally:
        await asyncio.to_thread(stream.close)  # type: ignore[attr-defined]


def connect(kind: str, key: str, **headers: str) -> Any:
    arguments: Any = {"url": os.environ["API_URL"], "api_key": key, "headers": headers}
    return get_client(**arguments) if kind == "async" else Awaited(get_sync_client(**arguments))


def say(text: str) -> Any:
    return {"messages": [{"role": "user", "content": text}]}


def humans(values: Any) -> list[str]:
    return [each["content"] for each in values["messages"] if each["type"] == "human"]


async def heard(stream: Any) -> list[Any]:
    return [part async for part in stream]


def told(parts: list[Any]) -> list[Any]:
    return [part for part in parts if part.event not in ("metadata", "end")]


def ids(parts: list[Any]) -> list[Any]:
    return [part.id for part in told(parts)]


async def refused(kind: type[Exception], work: Any) -> None:
    try:
        await work
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


class Scenarios:
    """Named as those of sdk.mjs, and about the same."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.client = connect(kind, os.environ["API_KEY"])
        self.stranger = connect(kind, os.environ["STRANGERS_KEY"])
        self.operator = connect(kind, os.environ["OPERATORS_KEY"])

    async def thread(self) -> str:
        return str((await self.client.threads.create())["thread_id"])

    async def begun(self, where: str, **options: Any) -> tuple[str, list[Any]]:
        """A run that has said something, and is left there."""
        run_id, parts = "", []
        stream = self.client.runs.stream(
            where, A, input=say("tell me a long story"), stream_mode="messages-tuple", **options
        )
        async with aclosing(stream):
            async for part in stream:
                run_id = run_id or part.data["run_id"]
                parts += told([part])
                if len(parts) == 5:
                    break
        return run_id, parts

    async def assistants(self) -> None:
        (found,) = await self.client.assistants.search(graph_id=A)
        assert (await self.client.assistants.get(found["assistant_id"]))["name"] == found["name"]
        assert "messages" in (await self.client.assistants.get_schemas(A))["input_schema"]["properties"]
        assert len((await self.client.assistants.get_graph(A))["nodes"]) > 2

    async def versions(self) -> None:
        made = await self.operator.assistants.create(A, name="Tried", metadata={"room": str(uuid4())})
        which, mine = made["assistant_id"], self.operator.assistants
        await refused(PermissionDeniedError, self.client.assistants.update(which, name="Mine"))
        changed = await mine.update(which, name="Tried twice", config={"tags": ["b"]})
        assert (made["version"], changed["version"]) == (1, 2)
        versions = await mine.get_versions(which)
        assert [each["version"] for each in versions] == [2, 1]
        assert (await mine.set_latest(which, 1))["name"] == "Tried"
        assert await self.client.assistants.count(metadata=made["metadata"]) == 1
        assert await mine.get_subgraphs(which) == {}
        values = await self.client.runs.wait(None, which, input=say("hello"))
        assert values["messages"][-1]["type"] == "ai"
        await mine.delete(which)
        await refused(NotFoundError, self.client.assistants.get(which))

    async def crons(self) -> None:
        where, crons = await self.thread(), self.client.crons
        made = await crons.create_for_thread(where, A, schedule="0 9 * * 1-5", input=say("hello"))
        other = await crons.create(A, schedule="0 9 1 1 *", input=say("hello"), timezone="Asia/Shanghai")
        assert [each["cron_id"] for each in await crons.search(thread_id=where)] == [made["cron_id"]]
        assert other["next_run_date"][5:16] == "01-01T01:00"
        changed = await crons.update(made["cron_id"], enabled=False)
        assert (changed["enabled"], changed["next_run_date"]) == (False, None)
        assert await self.stranger.crons.count() == 0
        await refused(NotFoundError, self.stranger.crons.delete(made["cron_id"]))
        for each in (made, other):
            await crons.delete(each["cron_id"])
        assert await crons.count(thread_id=where) == 0

    async def webhook(self) -> None:
        with Receiver() as receiver:
            run = await self.client.runs.create(None, A, input=say("hello"), webhook=receiver.url)
            while not receiver.received:
                await asyncio.sleep(0.05)
        message = json.loads(receiver.received[0].body)
        assert (message["run_id"], message["status"]) == (run["run_id"], "success")
        assert message["values"]["messages"][-1]["type"] == "ai"

    async def threads(self) -> None:
        room, threads = str(uuid4()), self.client.threads
        where = (await threads.create(metadata={"room": room}))["thread_id"]
        await threads.update(where, metadata={"kind": "test"})
        assert (await threads.get(where))["metadata"] == {"room": room, "kind": "test"}
        assert [each["thread_id"] for each in await threads.search(metadata={"room": room})] == [where]
        assert await threads.count(metadata={"room": room}) == 1
        await refused(NotFoundError, self.stranger.threads.get(where))
        await threads.delete(where)
        await refused(NotFoundError, threads.get(where))

    async def stream(self) -> None:
        where, runs = await self.thread(), self.client.runs
        parts = await heard(runs.stream(where, A, input=say("hello"), stream_mode=MODES))
        names = {part.event for part in parts}
        assert {"metadata", "values", "updates", "messages", "tasks", "checkpoints", "debug"} <= names
        said = "".join(part.data[0]["content"] for part in parts if part.event == "messages")
        last = [part.data for part in parts if part.event == "values"][-1]
        assert last["messages"][-1]["content"] in said
        old = await heard(runs.stream(where, A, input=say("hello"), stream_mode="messages"))
        assert "messages/partial" in {part.event for part in old}
        events = await heard(runs.stream(where, A, input=say("hello"), stream_mode="events"))
        assert "on_chat_model_stream" in {part.data["event"] for part in told(events)}
        assert [run["status"] for run in await runs.list(where)] == ["success"] * 3

    async def drop(self) -> None:
        cut = connect(self._kind, os.environ["API_KEY"], **{"x-cut-after": "6000"})
        where, runs = await self.thread(), self.client.runs
        stream = cut.runs.stream(
            where,
            A,
            input=say("tell me a long story"),
            stream_mode=["messages-tuple", "values"],
            stream_resumable=True,
        )
        parts = await heard(stream)
        (run,) = await runs.list(where)
        whole = await heard(runs.join_stream(where, run["run_id"], last_event_id="-1"))
        assert run["status"] == "success"
        assert len(told(whole)) > 20
        assert told(parts) == told(whole), "not each event exactly once"

    async def resume(self) -> None:
        where, runs = await self.thread(), self.client.runs
        run_id, parts = await self.begun(where)
        rest = await heard(runs.join_stream(where, run_id, last_event_id=parts[-1].id))
        whole = await heard(runs.join_stream(where, run_id, last_event_id="-1"))
        assert ids(parts) + ids(rest) == ids(whole), "not each event exactly once"

    async def wait(self) -> None:
        where, runs = await self.thread(), self.client.runs
        values = await runs.wait(where, A, input=say("hello"))
        assert [each["type"] for each in values["messages"]] == ["human", "ai"]
        run_id = (await runs.create(where, A, input=say("hello")))["run_id"]
        assert len((await runs.join(where, run_id))["messages"]) == 4
        assert (await runs.get(where, run_id))["status"] == "success"
        await runs.delete(where, run_id)
        await refused(NotFoundError, runs.get(where, run_id))

    async def interrupt(self) -> None:
        answers: list[Any] = [
            lambda id: {"decisions": [{"type": "approve"}]},
            lambda id: {"decisions": [{"type": "edit", "edited_action": EDITED}]},
            lambda id: [{"type": "accept", "args": None}],
            lambda id: [{"type": "ignore", "args": None}],
            lambda id: {id: {"type": "approve"}},
        ]
        runs = self.client.runs
        for answer in answers:
            where = await self.thread()
            values = await runs.wait(where, A, input=say("refund 0.01 of order 1042"))
            (asked,) = values["__interrupt__"]
            assert asked["value"]["action_requests"][0]["name"] == "refund_order"
            found = await self.client.threads.get(where)
            assert found["status"] == "interrupted"
            assert [each["id"] for task in found["interrupts"].values() for each in task] == [asked["id"]]
            await refused(ConflictError, runs.create(where, A, input=say("hello")))
            await refused(ConflictError, runs.create(where, A, command={"resume": {"0" * 32: "yes"}}))
            command = {"resume": answer(asked["id"])}
            parts = await heard(runs.stream(where, A, input={}, command=command, stream_mode=["values"]))
            last = [part.data for part in parts if part.event == "values"][-1]
            assert "__interrupt__" not in last
            assert last["messages"][-1]["type"] == "ai"
            await refused(ConflictError, runs.create(where, A, command=command))

    async def withdraw(self) -> None:
        where = await self.thread()
        await self.client.runs.wait(where, A, input=say("refund 0.01 of order 1042"))
        await self.client.runs.wait(where, A, command={"goto": "__end__"})
        assert (await self.client.threads.get(where))["status"] == "idle"

    async def cancel(self) -> None:
        where, runs = await self.thread(), self.client.runs
        first, _parts = await self.begun(where)
        busy = runs.create(where, A, input=say("hello"), multitask_strategy="reject")
        await refused(ConflictError, busy)
        await runs.cancel(where, first, wait=True)
        assert (await runs.get(where, first))["status"] == "interrupted"
        undone, _parts = await self.begun(where)
        await runs.cancel(where, undone, wait=True, action="rollback")
        await refused(NotFoundError, runs.get(where, undone))
        values = await runs.wait(where, A, input=say("hello"))
        assert humans(values) == ["tell me a long story", "hello"]
        left, _parts = await self.begun(where, on_disconnect="cancel")
        async with asyncio.timeout(20):
            while (await runs.get(where, left))["status"] != "interrupted":
                await asyncio.sleep(0.1)
        last, _parts = await self.begun(where)
        await runs.cancel_many(thread_id=where, run_ids=[last], action="interrupt")
        assert humans(await runs.wait(where, A, input=say("hello")))[-1] == "hello"
        assert (await runs.get(where, last))["status"] == "interrupted"

    async def states(self) -> None:
        where, threads = await self.thread(), self.client.threads
        await self.client.runs.wait(where, A, input=say("hello"))
        state = await threads.get_state(where)
        history = await threads.get_history(where, limit=50)
        assert (state["next"], history[0]["checkpoint"]) == ([], state["checkpoint"])
        assert history[-1]["parent_checkpoint"] is None
        again = await threads.get_state(where, history[1]["checkpoint"])
        assert again["checkpoint"] == history[1]["checkpoint"]
        before = await threads.get_history(where, limit=1, before=history[0]["checkpoint"])
        assert before[0]["checkpoint"] == history[1]["checkpoint"]
        await threads.update_state(where, say("by hand"))
        assert humans((await threads.get_state(where))["values"]) == ["hello", "by hand"]

    async def fork(self) -> None:
        where, runs = await self.thread(), self.client.runs
        await runs.wait(where, A, input=say("hello"))
        then, *earlier = await self.client.threads.get_history(where, limit=50)
        await runs.wait(where, A, input=say("what is 1+1"))
        forked = await runs.wait(where, A, input=say("instead"), checkpoint=then["checkpoint"])
        assert humans(forked) == ["hello", "instead"]
        asked = next(each for each in earlier if each["next"] == ["model"])["checkpoint"]["checkpoint_id"]
        again = await runs.wait(where, A, checkpoint_id=asked)
        assert [each["type"] for each in again["messages"]] == ["human", "ai"]
        gone = runs.create(where, A, input=say("hello"), checkpoint_id=str(uuid4()))
        await refused(NotFoundError, gone)

    async def copies(self) -> None:
        where, threads = await self.thread(), self.client.threads
        values = await self.client.runs.wait(where, A, input=say("hello"))
        await threads.copy(where)
        copies = await threads.search(
            metadata={"graph_id": A}, sort_by="created_at", sort_order="desc", limit=1
        )
        assert copies[0]["thread_id"] != where
        assert (await threads.get_state(copies[0]["thread_id"]))["values"] == values
        await refused(NotFoundError, self.stranger.threads.copy(where))
        assert (await threads.prune([where], strategy="keep_latest"))["pruned_count"] == 1
        assert len(await threads.get_history(where)) == 1
        assert (await threads.prune([where, copies[0]["thread_id"]]))["pruned_count"] == 2

    async def stateless(self) -> None:
        runs = self.client.runs
        assert (await runs.wait(None, A, input=say("hello")))["messages"][-1]["type"] == "ai"
        assert "values" in {part.event for part in await heard(runs.stream(None, A, input=say("hello")))}
        asked = {"assistant_id": A, "input": say("hello"), "on_completion": "keep"}
        made = await runs.create_batch([asked, asked])
        assert len({run["thread_id"] for run in made}) == 2
        for run in made:
            await runs.join(run["thread_id"], run["run_id"])

    async def following(self) -> None:
        where, runs = await self.thread(), self.client.runs

        async def follow() -> list[str]:
            done: list[str] = []
            stream = self.client.threads.join_stream(where, last_event_id="-1")
            if asyncio.iscoroutine(stream):
                stream = await stream  # the asynchronous client hands out its stream late
            async with aclosing(stream):
                async for part in stream:
                    if part.event == "metadata" and part.data.get("status") == "run_done":
                        done.append(part.data["run_id"])
                    if len(done) == 2:
                        break
            return done

        following = asyncio.create_task(follow())
        made = []
        for text in ("hello", "what is 1+1"):
            made.append((await runs.create(where, A, input=say(text)))["run_id"])
            await runs.join(where, made[-1])
        assert await asyncio.wait_for(following, 20) == made

    async def store(self) -> None:
        space, store = [f"test-{uuid4()}", "inner"], self.client.store
        await store.put_item(space, "a", {"n": 1})
        await store.put_item(space, "b", {"n": 2})
        item = await store.get_item(space, "a")
        assert (item["value"], item["namespace"]) == ({"n": 1}, space)
        found = await store.search_items(space[:1], filter={"n": 2})
        assert [each["key"] for each in found["items"]] == ["b"]
        assert (await store.list_namespaces(prefix=space[:1]))["namespaces"] == [space]
        assert await self.stranger.store.get_item(space, "a") is None
        assert (await self.stranger.store.search_items(space[:1]))["items"] == []
        await store.delete_item(space, "a")
        assert await store.get_item(space, "a") is None

    async def protocol(self) -> None:
        await self._turn()

    async def protocolSocket(self) -> None:
        await self._turn(transport="websocket", headers={"x-api-key": os.environ["API_KEY"]})

    async def _turn(self, **options: Any) -> None:
        where, threads = await self.thread(), self.client.threads
        async with threads.stream(where, assistant_id=A, **options) as thread:
            hearing = asyncio.create_task(heard(thread.subscribe(CHANNELS)))
            telling = asyncio.create_task(heard(thread.messages))
            await thread.run.start(input=say("where is order 1042?"))
            values, parts = await thread.output, await hearing
            texts = [str(await message.text) for message in await telling]
        assert values["messages"][-1]["content"] == texts[-1]
        named = {"lifecycle", "messages", "values", "checkpoints", "updates", "tasks", "tools"}
        assert named <= {part["method"] for part in parts}
        tools = [part["params"]["data"] for part in parts if part["method"] == "tools"]
        assert [each["event"] for each in tools] == ["tool-started", "tool-finished"]
        assert tools[0]["tool_name"] == "look_up_order"
        assert await self._all_of(where, **options) == [part["event_id"] for part in parts]

    async def _all_of(self, where: str, **options: Any) -> list[str]:
        async with self.client.threads.stream(where, assistant_id=A, **options) as thread:
            return [part["event_id"] for part in await heard(thread.subscribe(CHANNELS))]

    async def protocolDrop(self) -> None:
        cut = connect(self._kind, os.environ["API_KEY"], **{"x-cut-after": f"6000 once {uuid4()}"})
        where = await self.thread()
        async with cut.threads.stream(where, assistant_id=A) as thread:
            hearing = asyncio.create_task(heard(thread.subscribe(CHANNELS)))
            await thread.run.start(input=say("tell me a long story"))
            parts = [part["event_id"] for part in await hearing]
        assert len(parts) > 20
        assert parts == await self._all_of(where), "not each event exactly once"

    async def protocolInterrupt(self) -> None:
        async with self.client.threads.stream(assistant_id=A) as thread:
            await thread.run.start(input=say("refund 0.01 of order 1042"))
            while not thread.interrupted:
                await asyncio.sleep(0.05)
            (asked,) = thread.interrupts
            assert asked["value"]["action_requests"][0]["name"] == "refund_order"
            await thread.run.respond({"decisions": [{"type": "approve"}]})
            values = await thread.output
        assert values["messages"][-1]["type"] == "ai"


async def drive(kind: str) -> None:
    scenarios = Scenarios(kind)
    for name in [name for name, value in vars(Scenarios).items() if name in ORDER and callable(value)]:
        own = sync_protocol.SCENARIOS.get(name) if kind == "sync" else None
        error = ""
        try:
            async with asyncio.timeout(LIMIT):
                await (asyncio.to_thread(own) if own else getattr(scenarios, name)())
        except Exception:
            error = traceback.format_exc()[-1500:]
        print(json.dumps({"scenario": name, "error": error}), flush=True)


ORDER = {name for name in vars(Scenarios) if not name.startswith("_")} - {"thread", "begun"}

if __name__ == "__main__":
    asyncio.run(drive(sys.argv[1]))
