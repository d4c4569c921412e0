"""Checkpoints of threads that rest: the newest stays, whole; what led to it goes.

Our graphs keep messages as deltas, so a newest checkpoint needs all that came before. Pruning writes what the deltas
add up to into the newest one, and only then deletes the others, in one transaction. LangGraph's own pruning refuses
such threads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.pregel import Pregel
from psycopg import Connection
from psycopg.rows import dict_row

from runtime.checkpoints import conninfo
from runtime.exceptions import GraphNotFound
from runtime.graphs import Graphs
from runtime.models import ACTIVE, TOOL_TRANSITIONS, Thread

logger = logging.getLogger(__name__)

PRUNABLE = """
SELECT thread.id FROM runtime_thread AS thread
JOIN checkpoints ON checkpoints.thread_id = thread.id::text AND checkpoint_ns = ''
WHERE thread.updated_at < statement_timestamp() - make_interval(days => %s)
GROUP BY thread.id HAVING count(*) > 1 ORDER BY thread.id
"""
KEEP_VALUE = """
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob) VALUES (%s, '', %s, %s, %s, %s)
ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO UPDATE SET type = excluded.type, blob = excluded.blob
"""
# In this order; each with the thread's id and the newest checkpoint's.
DROP_THE_REST = (
    """DELETE FROM checkpoint_blobs WHERE thread_id = %s AND checkpoint_ns = '' AND (channel, version) NOT IN (
        SELECT key, value FROM checkpoints, jsonb_each_text(checkpoint->'channel_versions')
        WHERE thread_id = checkpoint_blobs.thread_id AND checkpoint_ns = '' AND checkpoint_id = %s)""",
    "DELETE FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id <> %s",
    "DELETE FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = '' AND checkpoint_id <> %s",
)


def prune(days: int) -> Iterator[int]:
    """Prunes threads not touched for `days`, one transaction each; yields how many checkpoints went."""
    if "checkpoints" not in connection.introspection.table_names():
        return  # no run has ever begun
    with connection.cursor() as cursor:
        cursor.execute(PRUNABLE, [days])
        thread_ids = [row[0] for row in cursor.fetchall()]
    with _graphs() as graphs:
        for thread_id in thread_ids:
            yield _prune(thread_id, graphs) or 0


def prune_these(thread_ids: Iterable[UUID]) -> int:
    """Prunes these, one transaction each; of how many the newest checkpoint is now the only one."""
    with _graphs() as graphs:
        return sum(_prune(thread_id, graphs) is not None for thread_id in thread_ids)


@contextmanager
def _graphs() -> Iterator[Graphs]:
    kwargs: dict[str, Any] = {**conninfo(), "autocommit": True, "row_factory": dict_row}
    with Connection.connect(**kwargs) as readings:
        yield Graphs(PostgresSaver(readings, serde=JsonPlusSerializer()))


@transaction.atomic
def _prune(thread_id: UUID, graphs: Graphs) -> int | None:
    """How many checkpoints went; None where nothing may go now."""
    # Locked against create_run: what rests here rests until this transaction is over.
    threads = Thread.objects.select_for_update(no_key=True, of=("self",)).select_related("assistant")
    thread = threads.filter(pk=thread_id).first()
    if thread is None or not _rests(thread):
        return None
    try:
        graph = graphs.get(thread.assistant.graph_id)
    except GraphNotFound:  # taken out of the settings: what its channels are can't be known any more
        logger.warning("thread not pruned", extra={"action": "graph_gone", "thread_id": str(thread_id)})
        return None
    return _keep_newest(str(thread_id), graph)


def _rests(thread: Thread) -> bool:
    active = thread.runs.filter(status__in=ACTIVE).exists()
    return not active and not thread.tool_calls.filter(state__in=TOOL_TRANSITIONS).exists()


def _keep_newest(thread_id: str, graph: Pregel[Any, Any, Any, Any]) -> int | None:
    config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
    saver: Any = graph.checkpointer
    saved, state = saver.get_tuple(config), graph.get_state(config)
    if saved is None or state.next:
        return None
    newest, versions = saved.checkpoint["id"], saved.checkpoint["channel_versions"]
    deltas = [name for name, channel in graph.channels.items() if isinstance(channel, DeltaChannel)]
    with connection.cursor() as cursor:
        for channel in deltas:
            if channel in versions and channel in state.values:
                kind, blob = saver.serde.dumps_typed(state.values[channel])
                cursor.execute(KEEP_VALUE, [thread_id, channel, versions[channel], kind, blob])
        for statement in DROP_THE_REST:
            cursor.execute(statement, [thread_id, newest])
        return int(cursor.rowcount)
