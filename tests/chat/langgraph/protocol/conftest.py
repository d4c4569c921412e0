"""A thread's events as one subscription hears them, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from accounts.callers import Caller, Credential
from accounts.scopes import EVERY_SCOPE
from runtime import events, hub, runs
from runtime.models import Run, Thread, ThreadState

from apps.chat.langgraph.protocol import feed, projection
from apps.chat.langgraph.protocol.envelopes import CHANNELS, Subscription
from apps.chat.watching import Watch
from tests.chat.conftest import Worker

Json = dict[str, Any]
Until = Callable[[Json], bool]

VALUES = {"messages": [{"type": "human", "content": "Hello", "id": "h"}]}


def ended(event: Json) -> bool:
    said = event["params"]["data"].get("event")
    return bool(event["method"] == "lifecycle" and said in ("completed", "failed", "interrupted"))


def watch_of(thread: Thread, credential: Credential | None = None) -> Watch:
    caller = Caller(thread.owner, EVERY_SCOPE, "key")
    return Watch(thread_id=thread.pk, caller=caller, cursor=events.START, credential=credential)


def heard(
    thread: Thread,
    until: Until = ended,
    meanwhile: Callable[[], Any] | None = None,
    *,
    credential: Credential | None = None,
    **wanted: Any,
) -> list[Json]:
    """All that is told up to the event that `until` is true for, or to the stream's end."""
    subscription = Subscription.model_validate({"channels": list(CHANNELS), **wanted})

    async def whole() -> list[Json]:
        found: list[Json] = []
        follow = feed.follow(watch_of(thread, credential), subscription)
        work = asyncio.create_task(asyncio.to_thread(meanwhile)) if meanwhile else None
        try:
            async for batch in follow:
                for event in batch or ():
                    found.append(event)
                    if until(event):
                        return found
            return found
        finally:
            await follow.aclose()
            await hub.close()
            if work is not None:
                await work

    return asyncio.run(asyncio.wait_for(whole(), 30))


def said(found: list[Json], method: str) -> list[Any]:
    return [event["params"]["data"] for event in found if event["method"] == method]


def methods(found: list[Json]) -> list[str]:
    return [event["method"] for event in found]


class Streaming(Worker):
    """Does to a thread what a worker does with a run of this protocol."""

    def asked(self, *modes: str) -> Run:
        message = {"role": "user", "content": "Hello", "id": f"m{Run.objects.count()}"}
        options: Any = {"stream_mode": list(modes or projection.MODES), "stream_subgraphs": True}
        return runs.create_run(
            self.thread, user=self.thread.owner, input={"messages": [message]}, fields={"options": options}
        )

    def started(self, *modes: str) -> Run:
        return self.start(self.asked(*modes))

    def told(self, run: Run, mode: str, data: Any, *namespace: str) -> None:
        name = "messages" if mode == "messages-tuple" else mode
        self.wire(run, mode=mode, event="|".join((name, *namespace)), data=data)

    def chunk(self, run: Run, *namespace: str, id: str = "ai", **fields: Any) -> None:
        message = {"type": "AIMessageChunk", "id": id, "content": "", "tool_call_chunks": [], **fields}
        self.told(run, "messages-tuple", [message, {"langgraph_node": "model"}], *namespace)

    def checkpoint(self, run: Run, id: str, step: int, values: Any) -> None:
        config = {"configurable": {"checkpoint_id": id}}
        metadata = {"step": step, "source": "loop"}
        self.told(run, "checkpoints", {"config": config, "metadata": metadata, "values": values})

    def ends(self, run: Run, status: str = "success", **fields: Any) -> None:
        interrupts = fields.pop("interrupts", [])
        state = {"run": run, "values": VALUES, "interrupts": interrupts}
        ThreadState.objects.update_or_create(thread=self.thread, defaults=state)
        run.finish(status, **fields)


@pytest.fixture
def streaming(thread: Thread) -> Streaming:
    return Streaming(thread)
