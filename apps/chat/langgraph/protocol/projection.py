"""From entries of a thread's log to the protocol's events: the same ones each time the same log is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtime.models import RunStatus, ToolState
from runtime.schemas import Event

from apps.chat.langgraph.protocol.envelopes import Json, event, numbered
from apps.chat.langgraph.protocol.messages import ROLES, Assembly

if TYPE_CHECKING:
    from runtime.models import Message, ToolCall

    from apps.chat.langgraph.protocol.rows import Rows

# What a run streams for this: the values are in the checkpoints.
MODES = ["checkpoints", "updates", "messages-tuple", "tasks", "custom"]

Namespace = tuple[str, ...]

UNDONE = {
    ToolState.REJECTED: "rejected",
    ToolState.DENIED: "denied",
    ToolState.EXPIRED: "expired",
    ToolState.SUPERSEDED: "superseded",
    ToolState.CANCELLED: "cancelled",
}


@dataclass(frozen=True)
class RunRow:
    """What is told of a run and is not in the log."""

    id: str
    graph: str
    modes: frozenset[str]
    status: str
    error: str
    is_hidden: bool
    """Deleted, or rolled back: nothing of it is told but that it ended."""
    is_newest: bool
    values: Any
    """The state it left; None where another went on since, or nobody wrote it down."""
    interrupts: list[Json]


@dataclass
class _Told:
    """How far a run is told."""

    is_running: bool = False
    has_gap: bool = False
    asked: list[str] = field(default_factory=list)
    open: dict[tuple[Namespace, str], Assembly] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    below: dict[Namespace, bool] = field(default_factory=dict)
    """Subgraphs that have begun, and whether they have ended."""


class Projection:
    """Reads one log from its beginning on."""

    def __init__(self) -> None:
        self.runs: dict[str, RunRow] = {}
        self.ended: set[str] = set()
        self._told: dict[str, _Told] = {}

    def events_of(self, entry: Event, rows: Rows) -> list[Json]:
        """Nothing for an entry that is no business of programs, or of a run that is gone."""
        run = rows.runs.get(entry["run_id"])
        if run is None:
            return []
        self.runs[run.id] = run
        told = self._told.setdefault(run.id, _Told())
        return numbered(entry["id"], list(self._events(entry, run, told, rows)))

    def _events(self, entry: Event, run: RunRow, told: _Told, rows: Rows) -> Iterator[Json]:
        data = entry["data"]
        if entry["event"] == "run":
            yield from self._of_run(run, told, data["status"])
        elif run.is_hidden:
            return
        elif entry["event"] == "wire":
            yield from _of_wire(run, told, data)
        elif entry["event"] == "tool_call" and data["pk"] in rows.calls:
            yield from _of_call(told, rows.calls[data["pk"]], data["state"])
        # A run that streams its messages has told them.
        elif (
            entry["event"] == "message" and data["pk"] in rows.messages and "messages-tuple" not in run.modes
        ):
            yield from _of_message(rows.messages[data["pk"]])

    def _of_run(self, run: RunRow, told: _Told, status: str) -> Iterator[Json]:
        if status == RunStatus.PENDING:
            return
        if status == RunStatus.RUNNING:
            if told.is_running:  # another worker goes on with it: what was open will be said again
                told.open.clear()
                return
            told.is_running = True
            yield event("lifecycle", {"event": "running", "graph_name": run.graph})
            return
        self.ended.add(run.id)
        for (namespace, _), message in told.open.items():
            is_broken = status in (RunStatus.ERROR, RunStatus.TIMEOUT)
            for said in message.fail(run.error) if is_broken else message.end():
                yield event("messages", said, namespace)
        told.open.clear()
        for namespace in [where for where, is_over in told.below.items() if not is_over]:
            yield _below(namespace, _ended_as(status))
            told.below[namespace] = True
        if told.has_gap or not run.modes & {"values", "checkpoints"}:
            yield from _values(run)
        if status == RunStatus.WAITING:
            yield from _asked(told, run.interrupts)
        # Where another run follows at once, that one's end is what people wait for.
        if status != RunStatus.CANCELLED or run.is_newest:
            yield _end(run, status)


def _ended_as(status: str) -> str:
    if status == RunStatus.WAITING:
        return "interrupted"
    return "completed" if status == RunStatus.SUCCESS else "failed"


def _end(run: RunRow, status: str) -> Json:
    said: Json = {"event": _ended_as(status), "graph_name": run.graph}
    if said["event"] == "failed":
        said["error"] = run.error or "The run was stopped."
    return event("lifecycle", said)


def _values(run: RunRow) -> Iterator[Json]:
    if run.values is not None:
        yield event("values", run.values)


def _asked(told: _Told, interrupts: Any) -> Iterator[Json]:
    """Each that was not told of before. Python's client reads `value`, the others `payload`."""
    for each in interrupts if isinstance(interrupts, list) else []:
        if each.get("id") and each["id"] not in told.asked:
            told.asked.append(each["id"])
            yield _question(each)


def _question(interrupt: Json) -> Json:
    said = {"interrupt_id": interrupt["id"], "payload": interrupt["value"], "value": interrupt["value"]}
    return event("input.requested", said)


# What a program had streamed


def _of_wire(run: RunRow, told: _Told, data: Json) -> Iterator[Json]:
    if "event" not in data:
        told.has_gap |= data["mode"] in ("values", "checkpoints")
        return
    namespace, payload = tuple(data["event"].split("|")[1:]), data["data"]
    for end in range(1, len(namespace) + 1):
        if namespace[:end] not in told.below:
            told.below[namespace[:end]] = False
            yield _below(namespace[:end], "started")
    match data["mode"]:
        case "messages-tuple":
            yield from _of_chunk(told, namespace, *payload)
        case "checkpoints":
            yield from _of_checkpoint(run, namespace, payload)
        case "values" if "checkpoints" not in run.modes and isinstance(payload, dict):
            yield from _asked(told, payload.get("__interrupt__"))
            values = {name: value for name, value in payload.items() if name != "__interrupt__"}
            yield event("values", values, namespace)
        case "updates" if isinstance(payload, dict):
            yield from _of_update(told, namespace, payload)
        case "tasks":
            yield event("tasks", payload, namespace)
            yield from _of_task(told, namespace, payload)
        case "custom":
            yield event("custom", _named(payload), namespace)


def _below(namespace: Namespace, status: str) -> Json:
    return event("lifecycle", {"event": status, "graph_name": namespace[-1].partition(":")[0]}, namespace)


def _of_chunk(told: _Told, namespace: Namespace, chunk: Json, metadata: Json) -> Iterator[Json]:
    role = ROLES.get(chunk.get("type", ""))
    if role is None or not chunk.get("id"):  # results of tools are told as such, and in the values
        return
    key = (namespace, chunk["id"])
    is_part = chunk["type"] == "AIMessageChunk"
    message = told.open.get(key)
    if message is None:
        message = told.open[key] = Assembly(chunk["id"])
        yield event("messages", message.begin(role, metadata), namespace)
    for said in message.add(chunk):
        yield event("messages", said, namespace)
    if not is_part or chunk.get("chunk_position") == "last":
        for said in told.open.pop(key).end():
            yield event("messages", said, namespace)


def _of_checkpoint(run: RunRow, namespace: Namespace, data: Json) -> Iterator[Json]:
    """The checkpoint, then the values that it holds."""
    where = (data.get("config") or {}).get("configurable", {})
    before = (data.get("parent_config") or {}).get("configurable", {})
    metadata = data.get("metadata") or {}
    if "checkpoint_id" in where:
        at = {"id": where["checkpoint_id"], "step": metadata.get("step"), "source": metadata.get("source")}
        if "checkpoint_id" in before:
            at["parent_id"] = before["checkpoint_id"]
        yield event("checkpoints", at, namespace)
    if data.get("values"):
        yield event("values", data["values"], namespace)


def _of_update(told: _Told, namespace: Namespace, payload: Json) -> Iterator[Json]:
    yield from _asked(told, payload.get("__interrupt__"))
    for node, values in payload.items():
        if node == "__interrupt__":
            continue
        for (where, id), message in list(told.open.items()):
            if where == namespace and _holds(values, id):
                for said in message.end():
                    yield event("messages", said, namespace)
                del told.open[where, id]
        yield event("updates", {"node": node, "values": values}, namespace)


def _holds(values: Any, id: str) -> bool:
    """Whether a node has written this message: then it is whole, whatever its last chunk said."""
    lists = values.values() if isinstance(values, dict) else []
    return any(
        isinstance(item, dict) and item.get("id") == id
        for each in lists
        if isinstance(each, list)
        for item in each
    )


def _of_task(told: _Told, namespace: Namespace, data: Any) -> Iterator[Json]:
    """The end of a task is the end of the subgraph that it ran."""
    if not isinstance(data, dict) or "result" not in data:
        return
    for below, is_over in told.below.items():
        if not is_over and below[:-1] == namespace and below[-1].partition(":")[2] == data.get("id"):
            told.below[below] = True
            status = (
                "interrupted" if data.get("interrupts") else "failed" if data.get("error") else "completed"
            )
            yield _below(below, status)


def _named(payload: Any) -> Json:
    if isinstance(payload, dict) and isinstance(payload.get("name"), str):
        return {"name": payload["name"], "payload": payload.get("payload", payload)}
    return {"payload": payload}


# What every run has in the log


def _of_call(told: _Told, call: ToolCall, state: str) -> Iterator[Json]:
    """Of a call that went through the gateway: its start is that it runs, or is settled without that."""
    if state in (ToolState.PROPOSED, ToolState.WAITING, ToolState.APPROVED):
        return
    id = call.call_id
    if str(call.pk) not in told.calls:
        told.calls.add(str(call.pk))
        began = {"event": "tool-started", "tool_call_id": id, "tool_name": call.tool, "input": call.args}
        yield event("tools", began)
    match state:
        case ToolState.DONE:
            yield event("tools", {"event": "tool-finished", "tool_call_id": id, "output": call.result})
        case ToolState.RESPONDED:
            output = call.result or call.reason
            yield event("tools", {"event": "tool-finished", "tool_call_id": id, "output": output})
        case ToolState.FAILED | ToolState.UNKNOWN:
            yield event("tools", {"event": "tool-error", "tool_call_id": id, "message": call.error})
        case _ if state in UNDONE:
            why = call.reason or f"The call was {UNDONE[ToolState(state)]}."
            code = UNDONE[ToolState(state)]
            said = {"event": "tool-error", "tool_call_id": id, "message": why, "code": code}
            yield event("tools", said)


def _of_message(row: Message) -> Iterator[Json]:
    message = Assembly(row.message_id)
    yield event("messages", message.begin(row.role, {}))
    for said in [*message.add({"content": row.content}), *message.end()]:
        yield event("messages", said)


def as_it_stands(run: RunRow) -> list[Json]:
    """Of the newest run, without the log: the ids say what it is, so that it is heard once."""
    said: list[Json] = []
    if run.status == RunStatus.RUNNING:
        said.append(event("lifecycle", {"event": "running", "graph_name": run.graph}))
    said += _values(run)
    if run.status == RunStatus.WAITING:
        said += _asked(_Told(), run.interrupts)
    if run.status not in (RunStatus.PENDING, RunStatus.RUNNING):
        said.append(_end(run, run.status))
    return [{**each, "event_id": f"{run.id}.{run.status}.{n}"} for n, each in enumerate(said)]
