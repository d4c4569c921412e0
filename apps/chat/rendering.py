"""Events of a thread's log as frames for its page's socket.

A frame is what htmx's hx-ws takes, plus what thread.js needs to place it:
  {"item": element id, "content": html}   put it in place of that element, or where its order puts it
  ... "only": "missing" | "open"          but not over one that is there | not over a finished one
  {"morph": element id, "content": html}  change the element without losing what is typed in it
  {"append": element id, "text": text}    add text to an open message
  {"clear": run id}                       take away what an earlier attempt left open
  {"reset": cursor, "content": html}      the whole timeline anew
The last frame of an event carries its id, from which the page resumes. What stands before it may come again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.template.loader import render_to_string
from runtime.models import UNSETTLED, Message, Role, RunStatus, Thread, ToolCall, ToolState
from runtime.schemas import Event, EventName

from apps.chat.tail import OpenMessage
from apps.chat.timeline import (
    Composer,
    Item,
    Turns,
    calls_of,
    composer_of,
    message_id,
    snapshot,
    unsettled,
)

Frame = dict[str, Any]

STREAMED = {"token", "message_started", "snapshot"}  # all of it is in the event
QUIET = {ToolState.RUNNING, ToolState.DONE, ToolState.FAILED}


class Page:
    """One open page of a thread. It keeps the rows that its frames are about; events say which to read again."""

    def __init__(self, thread_id: UUID) -> None:
        self.thread = Thread.objects.select_related("assistant").get(pk=thread_id)
        self._turns = Turns(self.thread)
        self._unsettled = {call.pk: call for call in unsettled(self.thread)}
        self._begun: set[UUID] = set()
        """Runs whose own messages have been drawn since they no longer queue."""

    def needs_rows(self, batch: Sequence[Event]) -> bool:
        """False when `frames_of` will not read the database: tokens, and what begins in a run that is known."""
        return any(event["event"] not in STREAMED or self._is_news(event) for event in batch)

    def _is_news(self, event: Event) -> bool:
        return event["event"] != "token" and UUID(event["run_id"]) not in self._turns.runs

    def frames_of(self, batch: Sequence[Event]) -> list[Frame]:
        """What changes on the page. Of what changes twice in the batch, only what it came to is drawn."""
        moves_composer = any(map(_moves_composer, batch))
        rows = self._read(batch, moves_composer=moves_composer) if self.needs_rows(batch) else Rows()
        newest = {_subject(event): event["id"] for event in batch}
        # First, because it comes with no id of its own: a page that missed it gets it with what follows it.
        frames = [self._composer()] if moves_composer else []
        for event in _joined(batch):
            drawn = self._drawn(event, rows, is_newest=newest[_subject(event)] == event["id"]) or [{}]
            drawn[-1]["id"] = event["id"]
            frames += drawn
        return frames

    def _read(self, batch: Sequence[Event], *, moves_composer: bool) -> Rows:
        """A query for each kind of row that the batch is about."""
        known = self._turns.runs
        changed = {
            UUID(event["run_id"])
            for event in batch
            if event["event"] in ("run", "progress") or self._is_news(event)
        }
        if moves_composer:  # a run that is asked to stop says so in its row only
            changed |= {run.pk for run in known.values() if run.is_active}
        if changed:
            self._turns.renew(self.thread.runs.filter(pk__in=changed).order_by())
        begun = {UUID(event["run_id"]) for event in batch if _has_begun(event)} - self._begun
        self._begun |= begun
        said, called = _subjects(batch, "message"), _subjects(batch, "tool_call")
        messages = self.thread.messages.filter(Q(pk__in=said) | Q(run__in=begun, role=Role.HUMAN))
        rows = Rows(
            {message.pk: message for message in messages} if said or begun else {},
            {str(call.pk): call for call in calls_of(self.thread).filter(pk__in=called)} if called else {},
            begun,
        )
        for call in rows.calls.values():
            self._unsettled.pop(call.pk, None)
            if call.state in UNSETTLED:
                self._unsettled[call.pk] = call
        return rows

    def _drawn(self, event: Event, rows: Rows, *, is_newest: bool) -> list[Frame]:
        match event["event"]:
            case "token":
                return [_token(event)]
            case "message_started" | "snapshot":
                return [self._open_message(event)]
            case "message":
                row = rows.messages.get(event["data"]["pk"])
                return [self._frame(self._turns.message(row))] if row else []
            case "tool_call" if is_newest:
                call = rows.calls.get(event["data"]["pk"])
                return [self._frame(self._turns.card(call))] if call else []
            case "run":
                return _cleared(event) + (self._run(UUID(event["run_id"]), rows) if is_newest else [])
        return []

    def _open_message(self, event: Event) -> Frame:
        data = event["data"]
        message = OpenMessage(data["key"], event["run_id"], data.get("text", ""))
        only = "missing" if event["event"] == "message_started" else "open"
        return {**self._frame(self._turns.open(message)), "only": only}

    def _run(self, run_id: UUID, rows: Rows) -> list[Frame]:
        """What was said to begin it changes too: it was queued and is not, from when its run begins."""
        said = rows.said_in(run_id) if run_id in rows.begun else []
        items = [self._turns.message(row) for row in said]
        items += [self._turns.notice(run) for run in self._turns.ended_badly() if run.pk == run_id]
        return [self._frame(item) for item in items]

    def _composer(self) -> Frame:
        waiting = sorted(self._unsettled.values(), key=lambda call: call.created_at)
        return composer_frame(self.thread, self._turns.composer(waiting))

    def _frame(self, item: Item) -> Frame:
        return {"item": item.id, "content": render_item(self.thread, item)}


@dataclass(frozen=True)
class Rows:
    """What one batch of events is about, as it stands in the database."""

    messages: Mapping[int, Message] = field(default_factory=dict)
    calls: Mapping[str, ToolCall] = field(default_factory=dict)
    begun: Set[UUID] = frozenset()
    """Runs that no longer queue."""

    def said_in(self, run_id: UUID) -> list[Message]:
        return [row for row in self.messages.values() if row.run_id == run_id and row.role == Role.HUMAN]


def _subjects(batch: Sequence[Event], name: EventName) -> set[Any]:
    return {event["data"]["pk"] for event in batch if event["event"] == name}


def _has_begun(event: Event) -> bool:
    return event["event"] == "run" and event["data"]["status"] != RunStatus.PENDING


def _joined(batch: Sequence[Event]) -> list[Event]:
    """The batch with tokens that follow each other in one message as one: a page that is behind catches up."""
    joined: list[Event] = []
    for event in batch:
        last = joined[-1] if joined else None
        if (
            last
            and event["event"] == last["event"] == "token"
            and event["data"]["key"] == last["data"]["key"]
        ):
            text = last["data"]["text"] + event["data"]["text"]
            joined[-1] = {**event, "data": {**event["data"], "text": text}}
        else:
            joined.append(event)
    return joined


def _subject(event: Event) -> tuple[str, Any]:
    """What an event is about: a later event of the same subject in a batch makes an earlier one superfluous."""
    match event["event"]:
        case "tool_call":
            return "tool_call", event["data"]["pk"]
        case "run":
            return "run", event["run_id"]
    return event["event"], event["id"]


def _moves_composer(event: Event) -> bool:
    """The composer is about who is waited for: that an approved call begins or ends is nothing to it."""
    is_quiet = event["event"] == "tool_call" and event["data"]["state"] in QUIET
    return event["event"] in ("run", "progress", "tool_call") and not is_quiet


def _token(event: Event) -> Frame:
    return {"append": message_id(event["data"]["key"]), "text": event["data"]["text"]}


def _cleared(event: Event) -> list[Frame]:
    """An attempt that begins, or a run that ends, leaves nothing open of an earlier attempt."""
    return [{"clear": event["run_id"]}] if _has_begun(event) else []


def begins_anew(event: Event) -> bool:
    """True when the page has to be drawn anew: the log lost events, or a dead worker's attempt left something."""
    is_attempt = event["event"] == "run" and event["data"]["status"] == RunStatus.RUNNING
    return event["event"] == "reset" or (is_attempt and event["data"]["attempt"] > 1)


def reset_frames(thread: Thread) -> list[Frame]:
    timeline = snapshot(thread)
    html = render_to_string("chat/_timeline.html", {"thread": thread, "timeline": timeline})
    reset = {"reset": timeline.cursor, "content": html, "id": timeline.cursor}
    return [composer_frame(thread, composer_of(thread)), reset]


def composer_frame(thread: Thread, composer: Composer) -> Frame:
    context = {"thread": thread, "composer": composer}
    return {"morph": "composer", "content": render_to_string("chat/_composer.html", context)}


def render_item(thread: Thread, item: Item) -> str:
    return render_to_string(item.template, {"thread": thread, "item": item})
