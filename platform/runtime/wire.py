"""What a program wants streamed of its run: more of the graph's own stream, appended to the thread's log.

The log is the pages' too: they pass over these entries. What is too large for it leaves a gap, and whoever reads the
log asks the database at the end of the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast
from uuid import UUID

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel

from runtime import events, masking, pace
from runtime.configuration import context_of
from runtime.models import Run
from runtime.questions import as_json
from runtime.schemas import WireData

logger = logging.getLogger(__name__)

Graph = Pregel[Any, Any, Any, Any]
Namespace = tuple[str, ...]

OF_RUNNER = ("messages", "updates")  # the modes that every run streams
OF_GRAPH = ("values", "custom", "debug", "tasks", "checkpoints")
ENTRY_LIMIT = 1_000_000  # characters of one entry
RUN_LIMIT = 10_000_000  # and of all of a run


class WireStream:
    """The stream of one attempt at a run."""

    def __init__(self, writer: events.Writer, run: Run) -> None:
        options = run.options or {}
        self._writer = writer
        self._run_id: UUID = run.pk
        self._modes = set(options.get("stream_mode", ["values"]))
        self._subgraphs = bool(options.get("stream_subgraphs"))
        self._context = context_of(run)
        self._entries: list[str] = []
        self._size = 0
        self._so_far: dict[str, BaseMessage] = {}
        """Messages of the mode "messages", by their id, as far as they have come."""
        self._timer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def follow(
        self, graph: Graph, payload: Any, config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[tuple[str, Any]]:
        """Streams the graph; yields what the runner wants of it: (mode, data) of the graph itself."""
        modes = [*OF_RUNNER, *(mode for mode in OF_GRAPH if mode in self._modes)]
        options |= {"stream_mode": modes, "subgraphs": True, "context": self._context}
        stream = self._with_events if "events" in self._modes else graph.astream
        arguments = (graph, payload, config) if "events" in self._modes else (payload, config)
        async with aclosing(cast(AsyncGenerator[Any], stream(*arguments, **options))) as parts:
            async for namespace, mode, data in parts:
                if mode in OF_RUNNER and not namespace:
                    yield mode, data
                if not namespace or self._subgraphs:
                    await self._take(namespace, mode, data)

    async def _with_events(
        self, graph: Graph, payload: Any, config: RunnableConfig, **options: Any
    ) -> AsyncGenerator[tuple[Namespace, str, Any]]:
        """As `astream`, from a stream of LangChain's events, which go out on the way."""
        root = ""
        async with aclosing(
            cast(AsyncGenerator[Any], graph.astream_events(payload, config, version="v2", **options))
        ) as heard:
            async for event in heard:
                root = root or event["run_id"]
                if event["run_id"] == root and event["event"] == "on_chain_stream":
                    yield event["data"]["chunk"]
                await self._append("events", "events", event)

    async def _take(self, namespace: Namespace, mode: str, data: Any) -> None:
        if mode == "messages":
            await self._take_message(namespace, *data)
            return
        if mode not in self._modes:
            return
        if mode in ("updates", "values") and isinstance(data, dict) and "__interrupt__" in data:
            # What is pending is known when the run ends: the policy may answer at once.
            data = {name: value for name, value in data.items() if name != "__interrupt__"}
            if not data:
                return
        await self._append(mode, "|".join((mode, *namespace)), data)

    async def _take_message(
        self, namespace: Namespace, message: BaseMessage, metadata: dict[str, Any]
    ) -> None:
        if "messages-tuple" in self._modes:
            await self._append("messages-tuple", "|".join(("messages", *namespace)), (message, metadata))
        if "messages" not in self._modes or not message.id:
            return
        name = "|".join(("messages/partial", *namespace))
        before = self._so_far.get(message.id)
        if before is None:
            described = {message.id: {"metadata": metadata}}
            await self._append("messages", "|".join(("messages/metadata", *namespace)), described)
        if isinstance(message, AIMessageChunk):
            whole = before + message if isinstance(before, AIMessageChunk) else message
            self._so_far[message.id] = cast(BaseMessage, whole)
        else:
            self._so_far[message.id] = message
            name = "|".join(("messages/complete", *namespace))
        await self._append("messages", name, [self._so_far[message.id]])

    async def interrupted(self, values: Any, interrupts: list[dict[str, Any]]) -> None:
        """The run ends with these open."""
        if "updates" in self._modes:
            await self._append("updates", "updates", {"__interrupt__": interrupts})
        if "values" in self._modes:
            await self._append("values", "values", {**values, "__interrupt__": interrupts})

    async def _append(self, mode: str, event: str, data: Any) -> None:
        """The first at once, the rest at the process's pace."""
        self._entries.append(
            self._entry({"mode": mode, "event": event, "data": masking.masked(as_json(data))})
        )
        if self._timer is None:
            await self._write()
            self._timer = asyncio.create_task(self._flush_later())

    def _entry(self, data: WireData) -> str:
        entry = events.entry("wire", self._run_id, cast(dict[str, Any], data))
        if len(entry) <= ENTRY_LIMIT and self._size + len(entry) <= RUN_LIMIT:
            self._size += len(entry)
            return entry
        logger.warning("event too large", extra={"action": "event_too_large", "run_id": str(self._run_id)})
        return events.entry("wire", self._run_id, {"mode": data["mode"], "gap": True})

    async def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._write()

    async def _flush_later(self) -> None:
        await asyncio.sleep(pace.rest())
        self._timer = None
        await self._write()

    async def _write(self) -> None:
        async with self._writing:
            entries, self._entries = self._entries, []
            if entries:
                await self._writer.append(entries, snapshot=entries)
