"""Tool calls that a thread's newest checkpoint leaves without an answer.

Imports LangGraph: for commands, never for the web.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from runtime.checkpoints import open_checkpointer
from runtime.graphs import Graphs
from runtime.invariants import Violation
from runtime.models import Run, RunStatus


def violations() -> list[Violation]:
    """Of every thread at rest after a turn that succeeded. A stopped turn's orphans are answered when it goes on."""
    newest = (
        Run.objects.filter(started_at__isnull=False)
        .order_by("thread_id", "-started_at")
        .distinct("thread_id")
    )
    rested = Run.objects.filter(pk__in=newest.values("pk"), status=RunStatus.SUCCESS)
    threads = list(rested.values_list("thread", "assistant__graph_id"))
    return asyncio.run(_look(threads)) if threads else []


async def _look(threads: Iterable[tuple[Any, str]]) -> list[Violation]:
    """Calls no model, so leaves the model client alone: it may be that of an engine in this process."""
    found: list[Violation] = []
    async with open_checkpointer() as checkpointer:
        graphs = Graphs(checkpointer)
        for thread, graph_id in threads:
            config: RunnableConfig = {"configurable": {"thread_id": str(thread)}}
            state = await graphs.get(graph_id).aget_state(config)
            found += [
                Violation("orphan-call", f"thread {thread}", f"tool call {id} has no answer in its state.")
                for id in unanswered(state.values.get("messages", []))
            ]
    return found


def unanswered(messages: Iterable[Any]) -> list[str]:
    """Ids of the tool calls without a tool message."""
    messages = list(messages)
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    called = [
        call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls
    ]
    return [str(id) for id in called if id not in answered]
