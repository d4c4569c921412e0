"""What programs send to `/api/v1/approvals`, a model each. A field that a decision does not have is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.utils.translation import gettext as _
from ninja import Schema
from pydantic import ConfigDict, Field, RootModel, StringConstraints
from runtime.exceptions import InvalidDecision
from runtime.models import CallKind, ToolCall
from runtime.schemas import Decision

from apps.approvals.fields import unix_lines

NOT_BLANK = r"\S"
MOST = 100  # requests of one page
FURTHEST = 10_000  # that an offset reaches: who wants more narrows the list

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of the arguments that the caller has seen, as `GET` gave it."""
Note = Annotated[str, StringConstraints(max_length=2000)]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=NOT_BLANK)]

Shown = Literal[
    "pending", "approved", "rejected", "responded", "expired", "cancelled", "superseded", "decided", "all"
]


class Listed(Schema):
    """Which requests, and in what order."""

    status: Shown = "pending"
    mine: bool = False
    """Only those that wait for the caller."""
    tool: str = Field("", max_length=100)
    assistant: str = Field("", max_length=100)
    """Of this graph."""
    risk: Literal["low", "normal", "high"] | None = None
    search: str = Field("", max_length=200)
    """A text in the requester's name, the tool or the arguments."""
    order: Literal["queue", "newest", "oldest", "expiry"] = "queue"
    """queue: as people see it. Of what waits by risk, then what expires first; of what is settled the newest."""
    limit: int = Field(50, ge=1, le=MOST)
    offset: int = Field(0, ge=0, le=FURTHEST)


class _Decision(Schema):
    model_config = ConfigDict(extra="forbid")

    digest: Digest

    def said(self, call: ToolCall) -> Decision:
        """For the decision service, which has the last word on all of it."""
        raise NotImplementedError


class Approve(_Decision):
    decision: Literal["approve"]
    reason: Note = ""

    def said(self, call: ToolCall) -> Decision:
        return {"type": "approve", "digest": self.digest, "message": unix_lines(self.reason)}


class Edit(_Decision):
    decision: Literal["edit"]
    arguments: dict[str, Any]
    """All arguments to run instead, those too that stay as they are."""
    reason: Note = ""

    def said(self, call: ToolCall) -> Decision:
        decision = Decision(type="edit", digest=self.digest, message=unix_lines(self.reason))
        return {**decision, "args": self.arguments}


class Reject(_Decision):
    decision: Literal["reject"]
    reason: Text
    """The assistant and the requester are told."""

    def said(self, call: ToolCall) -> Decision:
        return {"type": "reject", "digest": self.digest, "message": unix_lines(self.reason)}


class Respond(_Decision):
    """To a call the answer in the tool's place, to a question of a graph its answer."""

    decision: Literal["respond"]
    message: str = Field("", max_length=20_000)
    answer: Any = None
    """To a question with a schema: a value that it takes."""

    def said(self, call: ToolCall) -> Decision:
        decision = Decision(type="respond", digest=self.digest, message=unix_lines(self.message))
        if "answer" not in self.model_fields_set:
            return decision
        if call.kind != CallKind.QUESTION or self.message:
            raise InvalidDecision(
                _("`answer` is for a question of a graph, and alone. A call takes `message`.")
            )
        return {**decision, "answer": self.answer}


class GivenDecision(RootModel[Annotated[Approve | Edit | Reject | Respond, Field(discriminator="decision")]]):
    """One person's decision on one request."""


class GivenComment(Schema):
    model_config = ConfigDict(extra="forbid")

    text: Text
