"""The log of a thread as server-sent events in the product's own words: docs/reference/events.md."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from runtime import events
from runtime.database import in_database
from runtime.models import ACTIVE, UNSETTLED, Message, Run, RunStatus, Thread, ToolCall
from runtime.schemas import Event

from apps.chat import watching
from apps.chat.api import shapes
from apps.chat.rendering import begins_anew
from apps.chat.tail import read_tail
from apps.chat.timeline import RECENT
from apps.chat.watching import RunWatch, Watch

Json = dict[str, Any]

HEARTBEAT = ": heartbeat\n\n"
RETRY = "retry: 3000\n\n"  # milliseconds after which a browser comes back


@dataclass(frozen=True)
class Told:
    """One event as a client hears it."""

    event: str
    data: Json
    id: str

    def __str__(self) -> str:
        # One line: JSON has no line break of its own.
        return f"event: {self.event}\ndata: {json.dumps(self.data, ensure_ascii=False)}\nid: {self.id}\n\n"


def response(watch: Watch, *, from_state: bool) -> StreamingHttpResponse:
    """`from_state`: begins with how it stands, and goes on from there."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    content = _counted(watch, from_state=from_state)
    return StreamingHttpResponse(content, content_type="text/event-stream; charset=utf-8", headers=headers)


async def _counted(watch: Watch, *, from_state: bool) -> AsyncGenerator[bytes]:
    with watching.counted(watch.caller.user):
        yield RETRY.encode()
        async with aclosing(told(watch, from_state=from_state)) as heard:
            async for each in heard:
                yield (HEARTBEAT if each is None else str(each)).encode()


async def told(watch: Watch, *, from_state: bool) -> AsyncGenerator[Told | None]:
    """What a client hears, each once and in order; None now and then, to show that somebody is there."""
    heard = Heard(watch.cursor)
    if from_state:
        for each in heard.fresh(await in_database(_as_it_stands, watch)):
            yield each
        if isinstance(watch, RunWatch) and heard.ends:
            return
    async with aclosing(watching.batches(replace(watch, cursor=heard.id))) as log:
        async for batch in log:
            if batch is None:
                yield None
                continue
            # What came before the newest state was told in it.
            coming = [event for event in batch if _is_after(event, heard.id)]
            if any(begins_anew(event) for event in coming):
                news = await in_database(_as_it_stands, watch)
            else:
                news = await _translated(watch.thread_id, coming)
            for each in heard.fresh(news):
                yield each
            if isinstance(watch, RunWatch) and heard.ends:
                return
    if isinstance(watch, RunWatch):
        for each in heard.fresh(await in_database(_end_of, watch.run.pk, heard.id)):
            yield each


@dataclass
class Heard:
    """How far a client is."""

    id: str
    ends: set[tuple[str, str]] = field(default_factory=set)
    """Run and status of each end that it knows of: the rows may have told it before the log did."""

    def fresh(self, told: Sequence[Told]) -> Iterator[Told]:
        for each in told:
            self.id = each.id
            if each.event == "end":
                end = (each.data["run_id"], each.data["status"])
                if end in self.ends:
                    continue
                self.ends.add(end)
            yield each


def _is_after(event: Event, id: str) -> bool:
    """A log that was lost begins anew: what says so comes whatever its id is."""
    return event["event"] == "reset" or events.position(event["id"]) > events.position(id)


async def _translated(thread_id: UUID, batch: Sequence[Event]) -> list[Told]:
    if any(event["event"] in ("message", "tool_call") or watching.is_end(event) for event in batch):
        return await in_database(translated, thread_id, batch)
    return translated(thread_id, batch)


def translated(thread_id: UUID, batch: Sequence[Event]) -> list[Told]:
    """Reads the database for messages, tool calls and ends; what is gone by now is not told."""
    said = {event["data"]["pk"] for event in batch if event["event"] == "message"}
    called = {event["data"]["pk"] for event in batch if event["event"] == "tool_call"}
    messages = Message.objects.filter(thread=thread_id).in_bulk(said) if said else {}
    calls = {str(pk): call for pk, call in ToolCall.objects.in_bulk(called).items()} if called else {}
    found = [_one(thread_id, event, messages, calls) for event in batch]
    return [told for told in found if told is not None]


def _one(
    thread_id: UUID, event: Event, messages: dict[int, Message], calls: dict[str, ToolCall]
) -> Told | None:
    data, run = event["data"], {"run_id": event["run_id"]}
    match event["event"]:
        case "run" if watching.is_end(event):
            return _end(UUID(event["run_id"]), data["status"], event["id"])
        case "run":
            return Told("run", {**run, "session_id": str(thread_id), **data}, event["id"])
        case "progress":
            return Told("progress", {**run, "session_id": str(thread_id), **data}, event["id"])
        case "message_started" | "snapshot":
            text = data.get("text", "")
            return Told("message_started", {**run, "message_id": data["key"], "text": text}, event["id"])
        case "token":
            return Told("token", {**run, "message_id": data["key"], "text": data["text"]}, event["id"])
        case "message" if row := messages.get(data["pk"]):
            return Told("message", shapes.message(row).model_dump(mode="json"), event["id"])
        case "tool_call" if call := calls.get(data["pk"]):
            return _call(call, data["state"], event["id"])
    return None


def _end(run_id: UUID, status: str, id: str) -> Told | None:
    """As the log has it: since then the run may have been withdrawn."""
    if not Run.objects.filter(pk=run_id).exists():
        return None
    data = shapes.outcome(run_id).model_dump(mode="json")
    data["status"] = shapes.INTERRUPTED if status == RunStatus.WAITING else status
    return Told("end", data, id)


def _call(call: ToolCall, state: str, id: str) -> Told:
    """An approval where a person is asked; what came of it only once the event says that something did."""
    if state in UNSETTLED:
        data = {"session_id": str(call.thread_id), **shapes.approval(call).model_dump(mode="json")}
        return Told("approval", data, id)
    is_final = state == call.state and call.is_settled
    return Told(
        "tool_call",
        {
            "run_id": str(call.run_id),
            "tool_call_id": str(call.pk),
            "tool": call.tool,
            "state": state,
            "args": call.args,
            "result": call.result if is_final else "",
            "error": call.error if is_final else "",
        },
        id,
    )


# How it stands, from the database


def _as_it_stands(watch: Watch) -> list[Told]:
    """The state; with the end of what is watched, or of the session's last run, where nothing goes on."""
    state = _state(watch.thread_id)
    if isinstance(watch, RunWatch):
        return [state, *_end_of(watch.run.pk, state.id)]
    newest = Run.objects.filter(thread=watch.thread_id).order_by("-created_at").first()
    is_quiet = newest is not None and not state.data["live"]
    return [state, *(_end_of(newest.pk, state.id) if newest and is_quiet else [])]


def _state(thread_id: UUID) -> Told:
    """All of the session. The log is read first: what it announced up to its end is then in the rows."""
    tail = read_tail(thread_id)
    thread = Thread.objects.get(pk=thread_id)
    newest = list(thread.messages.order_by("-created_at", "-pk")[: RECENT + 1])
    saved = {message.key for message in newest}
    unsaved = [message for message in tail.open if message.key not in saved]
    data = {
        "session_id": str(thread_id),
        "messages": [shapes.message(row).model_dump(mode="json") for row in reversed(newest[:RECENT])],
        "has_earlier": len(newest) > RECENT,
        "streaming": [{"run_id": m.run_id, "message_id": m.key, "text": m.text} for m in unsaved],
        "approvals": [each.model_dump(mode="json") for each in shapes.approvals(thread_id)],
        "live": [{"run_id": str(run.pk), "status": run.status} for run in shapes.live_runs(thread)],
    }
    return Told("session", data, tail.cursor)


def _end_of(run_id: UUID, id: str) -> list[Told]:
    """The run's end; nothing while it goes on, for who may not watch it any more."""
    run = Run.objects.get(pk=run_id)
    ended = None if run.status in ACTIVE else _end(run_id, run.status, id)
    return [ended] if ended else []
