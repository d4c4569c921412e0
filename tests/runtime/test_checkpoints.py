"""The fence around checkpoints: a worker that lost its run can't write over its successor."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from psycopg import sql
from runtime import runs
from runtime.checkpoints import FencedSaver, open_checkpointer
from runtime.context import RunContext, current_run
from runtime.exceptions import LeaseLost
from runtime.models import Run, Thread
from runtime.retention import CHECKPOINT_TABLES

pytestmark = pytest.mark.django_db(transaction=True)


def claimed(thread: Thread) -> Run:
    run = Run.claim(runs.send_message(thread, thread.owner, "hello").pk, "w")
    assert run is not None
    return run


def config_of(thread: Thread) -> RunnableConfig:
    return {"configurable": {"thread_id": str(thread.pk), "checkpoint_ns": ""}}


def as_worker_of(run: Run, thread: Thread, work: Any) -> CheckpointTuple | None:
    """Does `work(saver, config)` in the name of this attempt; the thread's newest checkpoint afterwards."""

    async def do() -> CheckpointTuple | None:
        async with open_checkpointer() as saver:
            current_run.set(RunContext(run))
            try:
                await work(saver, config_of(thread))
            finally:
                current_run.set(None)  # type: ignore[arg-type]
                newest = await saver.aget_tuple(config_of(thread))
        return newest

    return asyncio.run(do())


async def put(saver: FencedSaver, config: RunnableConfig) -> None:
    await saver.aput(config, empty_checkpoint(), {"source": "loop", "step": 1}, {})


async def put_writes(saver: FencedSaver, config: RunnableConfig) -> None:
    there: RunnableConfig = {"configurable": {**config["configurable"], "checkpoint_id": str(uuid4())}}
    await saver.aput_writes(there, [("messages", "late")], "task")


def test_the_owner_writes(thread: Thread) -> None:
    assert as_worker_of(claimed(thread), thread, put) is not None


@pytest.mark.parametrize("work", [put, put_writes])
def test_who_lost_the_run_writes_nothing(thread: Thread, work: Any) -> None:
    stale = claimed(thread)
    Run.objects.filter(pk=stale.pk).update(attempt=2)

    with pytest.raises(LeaseLost):
        as_worker_of(stale, thread, work)

    assert [rows_of(thread, table) for table in CHECKPOINT_TABLES] == [0, 0, 0]


def rows_of(thread: Thread, table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE thread_id = %s").format(sql.Identifier(table)),
            [str(thread.pk)],
        )
        return int(cursor.fetchone()[0])
