"""Turns that begin from an earlier checkpoint of their thread. What came after it stays in the history.

Such a turn makes tool calls of its own, which the policy judges anew: nothing that was approved once runs again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from runtime.exceptions import CallRefused
from runtime.orphans import unanswered

Graph = Pregel[Any, Any, Any, Any]


async def starting_point(
    graph: Graph, thread_id: UUID, checkpoint_id: str, *, has_input: bool
) -> StateSnapshot:
    """The state there. Raises CallRefused where a turn can't begin.

    Without input the steps that followed are taken again. Where one of them had asked somebody, or would carry out
    a call that was made before, that would take an old answer for a new one.
    """
    config: RunnableConfig = {
        "configurable": {"thread_id": str(thread_id), "checkpoint_ns": "", "checkpoint_id": checkpoint_id}
    }
    state = await graph.aget_state(config)
    if state.created_at is None:
        raise CallRefused(_("The thread has no such checkpoint."), 404)
    if has_input:
        return state
    if not state.next:
        raise CallRefused(_("Nothing is left to do at that checkpoint: send input with it."))
    saver: Any = graph.checkpointer
    saved = await saver.aget_tuple(config)
    has_asked = any(channel in (INTERRUPT, RESUME) for _task, channel, _value in saved.pending_writes or [])
    if has_asked or unanswered(_messages_of(state)):
        raise CallRefused(
            _(
                "A tool call or a question is open at that checkpoint. Begin from one before it, or send input."
            )
        )
    return state


def _messages_of(state: StateSnapshot) -> list[AnyMessage]:
    """Of every channel that holds some, whatever it is called."""
    values: Iterable[Any] = state.values.values() if isinstance(state.values, dict) else ()
    return [item for value in values if isinstance(value, list) for item in value]
