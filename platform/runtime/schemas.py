"""Shapes that cross a process border."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

EventName = Literal[
    "run",  # a run's status changed
    "message_started",  # an assistant's message begins to stream
    "token",  # text to append to it
    "snapshot",  # all its text so far: sent when the log was lost and begun again
    "message",  # a whole message is in the database
    "tool_call",  # a tool call's row changed
    "reset",  # the reader's cursor is no longer in the log: render from the database and go on from `id`
]


class Event(TypedDict):
    """One entry of a thread's log."""

    id: str
    """"<epoch>-<sequence>", growing; a reader resumes strictly after it."""
    event: EventName
    run_id: str
    data: dict[str, Any]


DecisionType = Literal["approve", "edit", "reject", "respond"]


class Decision(TypedDict, total=False):
    """What a person says to a waiting tool call; the field's four words."""

    type: DecisionType
    args: dict[str, Any]
    """edit: the whole set of arguments to run instead."""
    message: str
    """reject: the reason, given to the model. respond: the answer in the tool's place. approve, edit: a note."""
    answer: Any
    """respond, to a question of a graph: what it gets, of the kind its schema asks for. Without it, `message`."""
    digest: str
    """Of the arguments the person saw: a decision on other arguments is refused."""
    override: bool
    """Break-glass: decides in place of whoever was asked. Needs the permission and a `message`; it is marked."""
