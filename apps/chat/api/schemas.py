"""What programs send and get: a model each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from accounts.problems import problems
from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field
from runtime.schemas import DecisionType

Json = dict[str, Any]

LONGEST_WAIT = 300.0  # seconds

SESSION_ID = Field(description="The id of a thread: what has been said in it, and what went on.")
TASK_ID = Field(description="The id of the run that began the task. Runs that go on with it belong to it.")


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("write something")
    return text


Text = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class Body(Schema):
    """What is misspelt is refused, not passed over."""

    model_config = ConfigDict(extra="forbid")


# Sent


class NewMessage(Body):
    message: Text
    assistant: Name | None = Field(
        None,
        description="Its id, or its graph's. Else the session's own; of a new session the first by name.",
    )
    session_id: UUID | None = Field(
        None, description="The id of a thread of yours. Without it a new one begins."
    )


class Question(NewMessage):
    timeout: float = Field(
        30.0, ge=0, le=LONGEST_WAIT, description="Seconds to wait for the answer. The run goes on after that."
    )


class TaskConfig(Body):
    target_audience: Annotated[str, Field(max_length=200)] = ""
    depth_level: Annotated[str, Field(max_length=100)] = ""
    target_length: int | None = Field(None, ge=1, le=100_000, description="Of the text, in words.")


class NewTask(Body):
    topic: Annotated[Text, Field(max_length=2000)]
    mode: str = Field("interactive", max_length=40, pattern=r"^[a-z][a-z0-9_-]*$")
    config: TaskConfig = TaskConfig(target_length=None)
    assistant: Name | None = Field(
        None, description="Its id, or its graph's. Else the one of COUNTERSIGN_TASK_ASSISTANT, or the first."
    )


class Judgement(Body):
    """What somebody says to what waits."""

    type: DecisionType | None = None
    args: Json | None = Field(None, description="edit: the whole set of arguments to run instead.")
    message: str = Field("", max_length=10_000, description="The reason, the note, or the answer.")
    answer: Any = Field(
        None, description="respond, to a question of a graph: of the kind its schema asks for."
    )
    digest: str | None = Field(
        None, max_length=64, description="Of the arguments you saw: a decision on others is refused (409)."
    )


class Resume(Judgement):
    """A decision on what waits; of a task that failed nothing at all: it is tried again."""

    tool_call_id: UUID | None = Field(None, description="Which one, where several wait.")


class SessionName(Body):
    session_id: UUID = SESSION_ID


class Page(Schema):
    limit: int = Field(50, ge=1, le=200)
    before: str = Field("", max_length=60, description="As the page after this one named it.")


# Answered


class Usage(Schema):
    input_tokens: int
    output_tokens: int


class Failure(Schema):
    type: str
    message: str


class PendingApproval(Schema):
    """A tool call, or a question of a graph, that waits for a person."""

    tool_call_id: UUID
    run_id: UUID
    kind: Literal["call", "action", "question"]
    tool: str
    args: Json
    why: str = Field(description="What the model said as it proposed the call. Never to be trusted.")
    preview: str
    decisions: list[DecisionType] = Field(
        description="What may be decided; whether by you is another question."
    )
    digest: str
    args_schema: Json


class Reply(Schema):
    """What a run has come to so far."""

    session_id: UUID = SESSION_ID
    run_id: UUID = Field(description="Also the id of a task.")
    status: Literal["pending", "running", "interrupted", "success", "error", "timeout", "cancelled"] = Field(
        description="interrupted: `interrupts` wait for a person. pending, running: it goes on."
    )
    answer: str | None = Field(description="The last that the assistant said in this run.")
    interrupts: list[PendingApproval]
    error: Failure | None
    usage: Usage


class ToolCalls(Schema):
    total: int
    done: int = Field(description="Those that are settled, however that was.")
    waiting: int = Field(description="Those that wait for a person.")


class Progress(Schema):
    """Only what is counted: null where nobody knows."""

    steps: int | None = Field(description="How many there are, where the graph counts them; else null.")
    steps_done: int | None = Field(description="Of these.")
    tool_calls: ToolCalls
    messages: int = Field(description="Of the assistant, so far.")
    fraction: float | None = Field(
        description="1 when it is done; before that the share of its steps, or null where nobody counts."
    )


class Task(Schema):
    task_id: UUID = TASK_ID
    session_id: UUID = SESSION_ID
    run_id: UUID = Field(description="The run that is at it now: after a decision another one goes on.")
    status: Literal["pending", "running", "waiting", "success", "error", "timeout", "cancelled"]
    progress: Progress
    result: str | None = Field(description="The last that the assistant said, once the task is done.")
    interrupts: list[PendingApproval]
    error: Failure | None
    usage: Usage
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    events: str = Field(description="Where its session's events are streamed.")


class SaidMessage(Schema):
    message_id: str = Field(description="The same as in the events of the stream.")
    run_id: UUID
    role: Literal["human", "ai"]
    text: str
    is_partial: bool = Field(description="It was cut off: its run was stopped, or failed.")
    created_at: datetime


class History(Schema):
    session_id: UUID = SESSION_ID
    messages: list[SaidMessage] = Field(description="Oldest first.")
    before: str | None = Field(
        description="Sent as `before` it gives those before these; null: there are none."
    )


class NewSession(Schema):
    session_id: UUID = Field(description="The new session's. The former one is gone for you.")


def answers(codes: dict[int, Any], *refusals: int) -> dict[int, Any]:
    """All that a route answers, for its description."""
    return {**codes, **problems(422, *refusals)}
