"""The worker half: `celery -A benchmarks.celery_design.tasks worker -P gevent`."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from celery import Celery
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from redis import Redis

from benchmarks.celery_design.log import CONNECTIONS, END, REDIS_URL, TOKEN, log_key
from benchmarks.graph import Graph, chat

POOL_SIZE = 10
LOG_TTL = 3600  # seconds

app = Celery("bench", broker=os.environ.get("BENCH_BROKER_URL", ""))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task
def answer(run_id: str, thread_id: str, text: str) -> None:
    """One turn of a thread, its tokens appended to the log of the run as they come."""
    events, key = _redis(), log_key(run_id)
    asked = {"messages": [{"role": "user", "content": text}]}
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
    try:
        for message, _ in _graph().stream(asked, config, stream_mode="messages"):
            if isinstance(message, AIMessageChunk) and message.text:
                events.xadd(key, {"event": TOKEN, "text": str(message.text)})
    finally:
        events.xadd(key, {"event": END})
        events.expire(key, LOG_TTL)


@cache
def _redis() -> Redis:
    client: Redis = Redis.from_url(REDIS_URL, max_connections=CONNECTIONS)
    return client


@cache
def _graph() -> Graph:
    kwargs: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: ConnectionPool[Connection[DictRow]] = ConnectionPool(
        os.environ["BENCH_DATABASE_URL"], max_size=POOL_SIZE, kwargs=kwargs, open=True
    )
    model = ChatOpenAI(model=os.environ["OPENAI_MODEL"])
    return chat(model, PostgresSaver(pool))
