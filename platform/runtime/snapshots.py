"""A graph's checkpoint as JSON, in the words of LangGraph's own clients, and its row. The worker's half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import Interrupt, StateSnapshot

from runtime import decisions, ledger, masking
from runtime.models import CallKind, Run, ThreadState, ToolCall, ToolState
from runtime.questions import as_json
from runtime.schemas import ShownInterrupt

Graph = Pregel[Any, Any, Any, Any]
Shown = dict[str, ShownInterrupt]

PRIVATE = {"calls", "digest"}  # of a shown interrupt


async def newest(graph: Graph, thread_id: UUID) -> StateSnapshot:
    config: RunnableConfig = {"configurable": {"thread_id": str(thread_id)}}
    return await graph.aget_state(config)


def save(thread_id: UUID, run: Run | None, snapshot: StateSnapshot) -> ThreadState:
    """Writes what the thread has come to after `run`. What can't be shown exactly is shown as text."""
    shown = shown_interrupts(thread_id, snapshot.interrupts)
    fields = {
        "run": run,
        "values": state_values(snapshot),
        "next": list(snapshot.next),
        "tasks": masking.masked(tasks(snapshot, shown)),
        "interrupts": list(shown.values()),
        "metadata": masking.masked(as_json(dict(snapshot.metadata or {}))),
        "checkpoint": checkpoint(snapshot.config) if snapshot.created_at else None,
        "parent_checkpoint": checkpoint(snapshot.parent_config),
        "created_at": datetime.fromisoformat(snapshot.created_at) if snapshot.created_at else None,
    }
    return ThreadState.objects.update_or_create(thread_id=thread_id, defaults=fields)[0]


def described(thread_id: UUID, snapshot: StateSnapshot) -> dict[str, Any]:
    """The wire's ThreadState."""
    shown = shown_interrupts(thread_id, snapshot.interrupts)
    at, before = checkpoint(snapshot.config), checkpoint(snapshot.parent_config)
    return {
        "values": state_values(snapshot),
        "next": list(snapshot.next),
        "tasks": masking.masked(tasks(snapshot, shown)),
        "metadata": masking.masked(as_json(dict(snapshot.metadata or {}))),
        "created_at": snapshot.created_at,
        "checkpoint": at if snapshot.created_at else None,
        "parent_checkpoint": before,
        "interrupts": [public(each) for each in shown.values()],
        "checkpoint_id": at and at["checkpoint_id"],
        "parent_checkpoint_id": before and before["checkpoint_id"],
    }


def public(interrupt: ShownInterrupt) -> dict[str, Any]:
    return {name: value for name, value in interrupt.items() if name not in {*PRIVATE, "task_id"}}


def state_values(snapshot: StateSnapshot) -> Any:
    """For reading: the checkpoint itself holds what the graph wrote."""
    return masking.masked(as_json(snapshot.values)) if snapshot.values else {}


def tasks(snapshot: StateSnapshot, shown: Shown) -> list[dict[str, Any]]:
    for task in snapshot.tasks:
        for each in task.interrupts:
            if each.id in shown:
                shown[each.id]["task_id"] = task.id
    return [
        {
            "id": task.id,
            "name": task.name,
            "path": as_json(task.path),
            "error": str(task.error) if task.error else None,
            "interrupts": [public(shown[each.id]) for each in task.interrupts if each.id in shown],
            "checkpoint": None,
            "state": None,
            "result": as_json(task.result) if task.result else None,
        }
        for task in snapshot.tasks
    ]


def checkpoint(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    configurable = (config or {}).get("configurable", {})
    if "checkpoint_id" not in configurable:
        return None
    return {
        "thread_id": configurable["thread_id"],
        "checkpoint_ns": configurable.get("checkpoint_ns", ""),
        "checkpoint_id": configurable["checkpoint_id"],
    }


def shown_interrupts(thread_id: UUID, pending: Sequence[Interrupt]) -> Shown:
    """Each that is pending, by its id; what the gateway asks looks as the middleware would have asked it."""
    if not pending:
        return {}
    rows = list(
        ToolCall.objects.filter(thread=thread_id).exclude(state=ToolState.PROPOSED).order_by("position")
    )
    of_gateway = {str(row.pk): row for row in rows if row.kind == CallKind.CALL}
    shown: Shown = {}
    for each in pending:
        named = each.value.get("tool_call_id") if isinstance(each.value, dict) else None
        call = of_gateway.get(str(named))
        if call is not None:
            shown[each.id] = _of_gateway(each, call)
            continue
        interrupt: ShownInterrupt = {
            "id": each.id,
            "value": masking.masked(as_json(each.value)),
            "task_id": "",
        }
        interrupt["calls"] = [str(row.pk) for row in rows if row.interrupt_id == each.id and _is_open(row)]
        if isinstance(each.response_schema, dict):
            interrupt["response_schema"] = as_json(each.response_schema)
        shown[each.id] = interrupt
    return shown


def _is_open(row: ToolCall) -> bool:
    """Not one that was asked about in other words before."""
    return row.state != ToolState.CANCELLED or bool(row.decision)


def _of_gateway(interrupt: Interrupt, call: ToolCall) -> ShownInterrupt:
    asked = {"name": call.tool, "args": call.args, "description": call.preview or call.why}
    config = {"action_name": call.tool, "allowed_decisions": decisions.takes(call)}
    return {
        "id": interrupt.id,
        "value": {"action_requests": [asked], "review_configs": [config]},
        "task_id": "",
        "calls": [str(call.pk)],
        "digest": ledger.digest(call.args),
    }
