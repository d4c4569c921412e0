"""The floor: LangGraph alone in one process, with nothing between the graph and its users, who are tasks in it.

Everything is as the libraries give it: ChatOpenAI, asyncio, AsyncPostgresSaver on a pool of ten, durability "async".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.graph import Graph, chat
from benchmarks.load import TEXT, Turn, User

LOOP = asyncio.new_event_loop
POOL_SIZE = 10


class FloorUser:
    """Calls the graph as a function, on a thread of its own."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._config: RunnableConfig = {"configurable": {"thread_id": str(uuid4())}}

    async def open(self) -> None:
        """Nothing is needed."""

    async def take(self, turn: Turn) -> None:
        asked = {"messages": [{"role": "user", "content": TEXT}]}
        async for message, _ in self._graph.astream(asked, self._config, stream_mode="messages"):
            if isinstance(message, AIMessageChunk):
                turn.read(str(message.text))


@asynccontextmanager
async def opened(count: int, where: Mapping[str, Any]) -> AsyncIterator[Sequence[User]]:
    """`where`: the model's base_url, key and name, and a database."""
    model = ChatOpenAI(model=where["model"], base_url=where["base_url"], api_key=where["api_key"])
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        where["database"], max_size=POOL_SIZE, kwargs=kwargs, open=False
    )
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        graph = chat(model, saver)
        yield [FloorUser(graph) for _ in range(count)]
