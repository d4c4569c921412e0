"""What a worker answers to short questions (`runtime.calls`): a closed list, each about one thread or graph."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from accounts.models import User
from django.db import transaction
from django.utils.translation import gettext as _
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.pregel import Pregel
from redis.asyncio import Redis as AsyncRedis

from runtime import audit, calls, forks, pruning, snapshots
from runtime.database import in_database
from runtime.exceptions import CallRefused, RuntimeRefusal, ThreadBusy, ThreadWaiting
from runtime.graphs import Graph, Graphs
from runtime.models import ACTIVE, HOLDS_INPUT, UNSETTLED, Assistant, Thread, ThreadState
from runtime.questions import as_json

logger = logging.getLogger(__name__)

ANSWER_LIMIT = 8_000_000  # characters
TAKE_LIMIT = 8.0  # seconds an answer may take: less than whoever asked waits


class Answers:
    """Takes entries from the list and answers them on the engine's loop."""

    def __init__(self, graphs: Graphs, redis: AsyncRedis) -> None:
        self._graphs = graphs
        self._redis = redis
        self._known: dict[str, Callable[..., Awaitable[Any]]] = {
            "describe": self.describe,
            "subgraphs": self.subgraphs,
            "state": self.state,
            "history": self.history,
            "update_state": self.update_state,
            "check_fork": self.check_fork,
            "prune": self.prune,
        }

    async def take_one(self) -> None:
        """Answers the oldest entry, if another worker did not take it."""
        entry: Any = await self._redis.lpop(calls.CALLS)
        if entry is None:
            return
        asked = json.loads(entry)
        answer = json.dumps(await self._answer(asked["name"], asked["arguments"]))
        key = calls.answer_key(asked["id"])
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(key, answer)
            pipeline.expire(key, calls.KEPT)
            await pipeline.execute()

    async def _answer(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(TAKE_LIMIT):
                result = await self._known[name](**arguments)
            if len(json.dumps(result)) > ANSWER_LIMIT:
                raise CallRefused(_("The answer is too large. Ask for less at once."), 422)
        except RuntimeRefusal as refusal:
            return {"refused": str(refusal), "status": refusal.status}
        except Exception:
            logger.exception("call failed", extra={"action": "call_failed", "call": name})
            return {"refused": _("The worker could not answer this. Its log says why."), "status": 500}
        return {"result": result}

    async def describe(self, assistant_id: str) -> Any:
        """The graph's schemas and its drawing; kept in the assistant's row for when no worker is there."""
        assistant = await in_database(Assistant.objects.get, pk=assistant_id)
        graph = self._graphs.get(assistant.graph_id)
        told = {"schemas": _schemas(graph), "graph": as_json(graph.get_graph().to_json())}
        if told != assistant.description_of_graph:
            await in_database(
                lambda: Assistant.objects.filter(pk=assistant.pk).update(description_of_graph=told)
            )
        return told

    async def subgraphs(self, assistant_id: str, namespace: str | None, recurse: bool) -> Any:
        """The schemas of each graph within the graph, by its namespace."""
        assistant = await in_database(Assistant.objects.get, pk=assistant_id)
        found = self._graphs.get(assistant.graph_id).get_subgraphs(namespace=namespace, recurse=recurse)
        return {name: _schemas(graph) for name, graph in found if isinstance(graph, Pregel)}

    async def state(self, thread_id: str, checkpoint_id: str | None = None) -> Any:
        """The state at that checkpoint; of the newest one, which also goes into the thread's row."""
        thread, graph = await self._thread(thread_id)
        if checkpoint_id is None:
            last = await in_database(ThreadState.last_run, thread.pk)
            snapshot = await snapshots.newest(graph, thread.pk)
            await in_database(snapshots.save, thread.pk, last, snapshot)
        else:
            snapshot = await graph.aget_state(_config(thread, checkpoint_id))
            if snapshot.created_at is None:
                raise CallRefused(_("The thread has no such checkpoint."), 404)
        return await in_database(snapshots.described, thread.pk, snapshot)

    async def history(
        self, thread_id: str, limit: int, before: str | None = None, metadata: dict[str, Any] | None = None
    ) -> Any:
        """The states of the thread, newest first."""
        thread, graph = await self._thread(thread_id)
        earlier = _config(thread, before) if before else None
        found = graph.aget_state_history(_config(thread), limit=limit, before=earlier, filter=metadata)
        # A list first: what follows reads the database, and the checkpointer's cursor stays open meanwhile.
        states = [snapshot async for snapshot in found]
        return [await in_database(snapshots.described, thread.pk, each) for each in states]

    async def update_state(self, thread_id: str, values: Any, as_node: str | None, user_id: int) -> Any:
        """Writes a checkpoint, as if `as_node` had brought `values`. Refused while something is under way."""
        thread, graph = await self._thread(thread_id)
        loop = asyncio.get_running_loop()

        def write() -> Any:
            update = graph.aupdate_state(_config(thread), values, as_node)
            return asyncio.run_coroutine_threadsafe(update, loop).result(TAKE_LIMIT)

        try:
            config = await in_database(_at_rest, thread, write, user_id)
        except InvalidUpdateError as error:
            raise CallRefused(str(error), 422) from error
        last = await in_database(ThreadState.last_run, thread.pk)
        await in_database(snapshots.save, thread.pk, last, await snapshots.newest(graph, thread.pk))
        return {"checkpoint": snapshots.checkpoint(config)}

    async def check_fork(self, thread_id: str, checkpoint_id: str, has_input: bool) -> Any:
        """Refused where no turn can begin at that checkpoint."""
        thread, graph = await self._thread(thread_id)
        await forks.starting_point(graph, thread.pk, checkpoint_id, has_input=has_input)
        return None

    async def prune(self, thread_ids: list[str]) -> Any:
        """Leaves each its newest checkpoint; how many rested, so that it could be done."""
        return await in_database(pruning.prune_these, [UUID(id) for id in thread_ids])

    async def _thread(self, thread_id: str) -> tuple[Thread, Graph]:
        thread = await in_database(Thread.objects.select_related("assistant").get, pk=thread_id)
        return thread, self._graphs.get(thread.assistant.graph_id)


def _config(thread: Thread, checkpoint_id: str | None = None) -> RunnableConfig:
    configurable = {"thread_id": str(thread.pk), "checkpoint_ns": ""}
    return {"configurable": {**configurable, **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}}


@transaction.atomic
def _at_rest(thread: Thread, write: Callable[[], Any], user_id: int) -> Any:
    """Does `write` while nothing can begin on the thread. Raises ThreadBusy, ThreadWaiting."""
    Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
    if thread.runs.filter(status__in=ACTIVE).exists():
        raise ThreadBusy
    if thread.tool_calls.filter(state__in={*UNSETTLED, *HOLDS_INPUT}).exists():
        raise ThreadWaiting
    written = write()
    user = User.objects.get(pk=user_id)
    audit.append("thread.state_updated", subject=thread, thread_id=thread.pk, actor=user)
    return written


def _schemas(graph: Graph) -> dict[str, Any]:
    """Each that can be told; null where a graph's types have no JSON schema."""
    tellers: dict[str, Callable[[], Any]] = {
        "input_schema": graph.get_input_jsonschema,
        "output_schema": graph.get_output_jsonschema,
        "state_schema": graph.get_output_jsonschema,
        "config_schema": graph.get_config_jsonschema,
        "context_schema": graph.get_context_jsonschema,
    }
    return {name: _told(tell) for name, tell in tellers.items()}


def _told(tell: Callable[[], Any]) -> Any:
    try:
        return as_json(tell())
    except Exception:  # whatever pydantic says of a type it does not know
        return None
