"""What a thread's graph remembers, read as a worker reads it."""

from __future__ import annotations

import asyncio

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from runtime.checkpoints import open_checkpointer
from runtime.graphs import Graphs
from runtime.llm import chat_model
from runtime.models import Thread


def history_of(thread: Thread) -> list[AnyMessage]:
    """The messages in the thread's newest checkpoint."""

    async def read() -> list[AnyMessage]:
        async with open_checkpointer() as saver:
            graph = Graphs(saver).get(thread.assistant.graph_id)
            config: RunnableConfig = {"configurable": {"thread_id": str(thread.pk)}}
            messages: list[AnyMessage] = (await graph.aget_state(config)).values.get("messages", [])
            return messages

    try:
        return asyncio.run(read())
    finally:
        chat_model.cache_clear()  # made for these settings, and never used


def said(thread: Thread) -> list[str]:
    """What people said, as the graph remembers it."""
    return [str(message.content) for message in history_of(thread) if message.type == "human"]
