"""Shapes that cross a process border."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, TypedDict
from uuid import UUID

EventName = Literal[
    "run",  # a run's status changed
    "message_started",  # an assistant's message begins to stream
    "token",  # text to append to it
    "snapshot",  # all its text so far: sent when the log was lost and begun again
    "message",  # a whole message is in the database
    "tool_call",  # a tool call's row changed
    "progress",  # a graph that counts came further: `RunProgress`
    "wire",  # what a program asked to be streamed, in its own words: `WireData`
    "reset",  # the reader's cursor is no longer in the log: render from the database and go on from `id`
]


class Event(TypedDict):
    """One entry of a thread's log."""

    id: str
    """"<epoch>-<sequence>", growing; a reader resumes strictly after it."""
    event: EventName
    run_id: str
    data: dict[str, Any]


class ModelCall(TypedDict):
    """What one call of a model used, as its run keeps it."""

    model: str
    input_tokens: int
    cached_tokens: int
    """Of the input tokens, those that the endpoint had read before."""
    output_tokens: int
    cost: str | None
    """A decimal number; None where the model has no price."""
    is_estimated: bool
    """The call was cut off before the endpoint counted: from what was sent and what had come."""


class Usage(TypedDict):
    """What one attempt of a run used."""

    tokens: tuple[int, int]
    """In and out, as the messages say."""
    cost: Decimal
    calls: list[ModelCall]


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


class RunOptions(TypedDict, total=False):
    """How a program wants its run. All of it is asked for; none of it gives a right."""

    stream_mode: list[str]
    """None of them: only the state it leaves is wanted."""
    stream_subgraphs: bool
    multitask_strategy: str
    on_completion: Literal["delete", "keep"]
    """delete: the thread goes with the end of its run."""
    on_disconnect: Literal["cancel", "continue"]
    durability: str
    checkpoint_id: str
    """An earlier checkpoint of the thread, from which the run begins."""
    rolls_back: bool
    """It was stopped, and the next run begins where this one's turn began."""


class RunProgress(TypedDict):
    """How far a graph is that counts what it does."""

    done: int
    total: int
    steps: list[str]
    """Those that are done, by the names their nodes give them."""


class RunFields(TypedDict, total=False):
    """What a run keeps for the program that began it; a run that resumes it inherits them."""

    metadata: dict[str, Any]
    config: dict[str, Any]
    context: Any
    options: RunOptions
    queue: str
    batch: UUID
    webhook: str
    """An address that is told when the run has ended, or waits."""


class WireData(TypedDict, total=False):
    """The data of a "wire" event."""

    mode: str
    """The stream mode it belongs to."""
    event: str
    """What the program hears it as: the mode, perhaps with the namespace of a subgraph."""
    data: Any
    gap: bool
    """In place of data: it was too large, and whoever reads this asks the database at the end."""


class ShownInterrupt(TypedDict, total=False):
    """A pending interrupt as programs see it."""

    id: str
    value: Any
    response_schema: dict[str, Any]
    task_id: str
    calls: list[str]
    """The tool calls it asks about, in its order. Not for programs."""
    digest: str
    """Of the arguments shown, where it asks about a call of the gateway. Not for programs."""
