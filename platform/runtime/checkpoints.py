"""Checkpoints in PostgreSQL, on a pool of checked connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, cast

import psycopg
from django.db import connection
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph.types import Interrupt
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from runtime import masking
from runtime.context import current_run
from runtime.exceptions import LeaseLost
from runtime.postgresql.base import check

POOL_SIZE = 10
WAIT = 10.0  # seconds for a free connection
SETUP_PAUSE = 0.1  # seconds
HOLD = "SELECT runtime_hold(%s, %s)"
LEASE_LOST = "CS001"  # what it raises when the run is another attempt's
SETUP_LOCK = 7_140_023  # any number: one worker at a time makes the tables


def conninfo() -> dict[str, Any]:
    """Django's own connection parameters, so that there is one DATABASE_URL."""
    params = connection.get_connection_params()
    return {
        key: params[key]
        for key in ("dbname", "user", "password", "host", "port", "options")
        if params.get(key)
    }


def pending_interrupts(saved: CheckpointTuple | None) -> Sequence[Interrupt]:
    """The questions a checkpoint still waits on: those of tasks that have not written anything else yet."""
    writes = saved.pending_writes or [] if saved else []
    finished = {task for task, channel, _ in writes if channel not in (INTERRUPT, RESUME, ERROR)}
    asked = [value for task, channel, value in writes if channel == INTERRUPT and task not in finished]
    return [interrupt for each in asked for interrupt in (each if isinstance(each, Sequence) else [each])]


class FencedSaver(AsyncPostgresSaver):
    """Writes for a run only while this attempt owns it. Raises LeaseLost where LangGraph writes a checkpoint."""

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        context = current_run.get(None)
        try:
            async with super()._cursor(pipeline=pipeline) as cursor:
                if pipeline and context is not None:
                    # Sent along with what is to be written, in the same transaction: no round trip more.
                    await cursor.execute(HOLD, (context.run.pk, context.run.attempt))
                yield cursor
        except psycopg.Error as error:
            if context is not None and error.sqlstate == LEASE_LOST:
                raise LeaseLost(run_id=context.run.pk) from error
            raise

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """LangGraph writes a run's configuration into the metadata, as JSON: credentials of a program among it."""
        plain = cast(
            RunnableConfig,
            {**config, **{name: _masked(config, name) for name in ("configurable", "metadata")}},
        )
        return await super().aput(plain, checkpoint, metadata, new_versions)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        context = current_run.get(None)
        if context is None or context.saved is None or not _is_newest(config):
            return await super().aget_tuple(config)
        saved, context.saved = context.saved, None
        return saved


def _masked(config: RunnableConfig, name: str) -> dict[str, Any]:
    """Its texts and numbers. Anything else there is LangGraph's own, and not written."""
    held: dict[str, Any] = cast(Any, config).get(name) or {}
    written = {key: value for key, value in held.items() if isinstance(value, str | int)}
    return {**held, **masking.masked(written)}


def _is_newest(config: RunnableConfig) -> bool:
    """Whether it asks for the newest checkpoint of the graph itself, not of a subgraph or of an earlier moment."""
    configurable = config["configurable"]
    return not configurable.get("checkpoint_ns") and not get_checkpoint_id(config)


@asynccontextmanager
async def open_checkpointer() -> AsyncIterator[AsyncPostgresSaver]:
    """The checkpointer of the running event loop, its tables made when they are missing."""
    kwargs = {
        **conninfo(),
        "autocommit": True,
        "prepare_threshold": 0,
        "row_factory": dict_row,
        "connect_timeout": 5,
    }
    pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        kwargs=kwargs,
        min_size=1,
        max_size=POOL_SIZE,
        timeout=WAIT,
        check=check,
        open=False,
    )
    async with pool:
        saver = FencedSaver(pool, serde=JsonPlusSerializer())
        # Its one lock around every statement undoes the pool: 82 runs/s with it, 125 without.
        saver.lock = cast(Any, nullcontext())
        await _set_up(saver, pool)
        yield saver


async def _set_up(saver: AsyncPostgresSaver, pool: AsyncConnectionPool[AsyncConnection[DictRow]]) -> None:
    """Makes the tables, one worker at a time.

    The others ask again and again: one that waited inside the database would hold up the very CREATE INDEX
    CONCURRENTLY it waits for, until a lock's time limit ended one of the two.
    """
    take = sql.SQL("SELECT pg_try_advisory_lock({}) AS is_ours").format(SETUP_LOCK)
    give_back = sql.SQL("SELECT pg_advisory_unlock({})").format(SETUP_LOCK)
    async with pool.connection() as guard:
        while not (await (await guard.execute(take)).fetchone() or {}).get("is_ours"):  # noqa: ASYNC110
            await asyncio.sleep(SETUP_PAUSE)
        try:
            await saver.setup()
        finally:
            await guard.execute(give_back)
