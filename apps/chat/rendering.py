"""Events of a thread's log as frames for its page's socket.

A frame is what htmx's hx-ws takes, plus what thread.js needs to place it:
  {"item": element id, "content": html}   put it in place of that element, or where its order puts it
  ... "only": "missing" | "open"          but not over one that is there | not over a finished one
  {"morph": element id, "content": html}  change the element without losing what is typed in it
  {"append": element id, "text": text}    add text to an open message
  {"clear": run id}                       take away what an earlier attempt left open
  {"reset": cursor, "content": html}      the whole timeline anew
The last frame of an event carries its id, from which the page resumes.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.template.loader import render_to_string
from runtime.models import Message, Role, RunStatus, Thread, ToolState
from runtime.schemas import Event

from apps.chat.tail import OpenMessage
from apps.chat.timeline import Item, Turns, calls_of, composer_of, message_id, snapshot

Frame = dict[str, Any]

QUIET = {ToolState.RUNNING, ToolState.DONE, ToolState.FAILED}


def frames_of(thread: Thread, event: Event) -> list[Frame]:
    """What changes on the page. Reads the database for all but tokens; call it where that may block."""
    make = {
        "message_started": _open_message,
        "snapshot": _open_message,
        "message": _message,
        "tool_call": _tool_call,
        "run": _run,
    }[event["event"]]
    frames: list[Frame] = make(thread, event) or [{}]
    frames[-1]["id"] = event["id"]
    return frames


def token_frame(event: Event) -> Frame:
    return {"append": message_id(event["data"]["key"]), "text": event["data"]["text"], "id": event["id"]}


def reset_frames(thread: Thread) -> list[Frame]:
    timeline = snapshot(thread)
    html = render_to_string("chat/_timeline.html", {"thread": thread, "timeline": timeline})
    return [composer_frame(thread), {"reset": timeline.cursor, "content": html, "id": timeline.cursor}]


def composer_frame(thread: Thread) -> Frame:
    context = {"thread": thread, "composer": composer_of(thread)}
    return {"morph": "composer", "content": render_to_string("chat/_composer.html", context)}


def render_item(thread: Thread, item: Item) -> str:
    return render_to_string(item.template, {"thread": thread, "item": item})


def _frame(thread: Thread, item: Item) -> Frame:
    return {"item": item.id, "content": render_item(thread, item)}


def _open_message(thread: Thread, event: Event) -> list[Frame]:
    data = event["data"]
    message = OpenMessage(data["key"], event["run_id"], data.get("text", ""))
    only = "missing" if event["event"] == "message_started" else "open"
    return [{**_frame(thread, Turns(thread).open(message)), "only": only}]


def _message(thread: Thread, event: Event) -> list[Frame]:
    row = Message.objects.filter(thread=thread, pk=event["data"]["pk"]).first()
    return [_frame(thread, Turns(thread).message(row))] if row else []


def _tool_call(thread: Thread, event: Event) -> list[Frame]:
    call = calls_of(thread).filter(pk=event["data"]["pk"]).first()
    if call is None:
        return []
    card = _frame(thread, Turns(thread).card(call))
    # The composer is about who is waited for: that an approved call begins or ends is nothing to it.
    return [card] if event["data"]["state"] in QUIET else [card, composer_frame(thread)]


def _run(thread: Thread, event: Event) -> list[Frame]:
    """A run's own messages change too: one that was queued is not when its run begins."""
    turns, run_id = Turns(thread), UUID(event["run_id"])
    frames = [
        _frame(thread, turns.message(row)) for row in thread.messages.filter(run=run_id, role=Role.HUMAN)
    ]
    if event["data"]["status"] != RunStatus.PENDING:
        frames.append({"clear": event["run_id"]})
    frames += [_frame(thread, turns.notice(run)) for run in turns.ended_badly() if run.pk == run_id]
    return [*frames, composer_frame(thread)]
