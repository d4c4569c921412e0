"""The decision port: every door hands a person's decision here; the implementation is named in a setting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from typing import Any, NamedTuple, Protocol, cast
from uuid import UUID

from accounts.models import User
from django.conf import settings
from django.forms import BoundField
from django.http import QueryDict
from django.utils.translation import gettext as _

from runtime.exceptions import DecisionRefused
from runtime.models import ToolCall
from runtime.schemas import Decision, DecisionType


class AnswerForm(Protocol):
    """What a page needs of the form: to show it field by field, and to read it."""

    def __iter__(self) -> Iterator[BoundField]: ...

    def non_field_errors(self) -> Any: ...

    def is_valid(self) -> bool: ...

    @property
    def answer(self) -> Any:
        """As the graph gets it. Of a valid form."""
        ...


class Asked(NamedTuple):
    """Of whom it is asked whether a tool call may run."""

    group: str
    """Empty when the group is gone."""
    since: datetime
    until: datetime | None
    """None: it waits for ever."""


class Decisions(Protocol):
    def decide(self, user: User, tool_call_id: UUID, decision: Decision) -> ToolCall:
        """Carries the decision out. Raises a RuntimeRefusal that says who, when or why not."""
        ...

    def withdraw(self, user: User, tool_call_id: UUID) -> ToolCall:
        """The requester takes a waiting call back."""
        ...

    def asked(self, tool_call: ToolCall) -> Asked | None:
        """What is asked about the call now; None when nothing is."""
        ...

    def takes(self, tool_call: ToolCall) -> list[DecisionType]:
        """The kinds of decision that what is asked about it now allows, whoever decides; empty when nothing is."""
        ...

    def may_answer(self, user: User, tool_call: ToolCall) -> list[DecisionType]:
        """What the requester may say to it in the chat; empty where others decide."""
        ...

    def answer_form(self, tool_call: ToolCall, data: QueryDict | None = None) -> AnswerForm:
        """A form for the answer to a question of a graph."""
        ...


def configured() -> Decisions:
    path = getattr(settings, "COUNTERSIGN_DECISIONS", None)
    if not path:
        raise DecisionRefused(_("Nothing is configured that could take decisions."))
    return cast(Decisions, import_module(path))


def decide(user: User, tool_call_id: UUID, decision: Decision) -> ToolCall:
    return configured().decide(user, tool_call_id, decision)


def withdraw(user: User, tool_call_id: UUID) -> ToolCall:
    return configured().withdraw(user, tool_call_id)


def asked(tool_call: ToolCall) -> Asked | None:
    """For who may see the call. None when nothing is configured, too: the page says less then."""
    return configured().asked(tool_call) if getattr(settings, "COUNTERSIGN_DECISIONS", None) else None


def takes(tool_call: ToolCall) -> list[DecisionType]:
    return configured().takes(tool_call) if getattr(settings, "COUNTERSIGN_DECISIONS", None) else []


def may_answer(user: User, tool_call: ToolCall) -> list[DecisionType]:
    return (
        configured().may_answer(user, tool_call) if getattr(settings, "COUNTERSIGN_DECISIONS", None) else []
    )


def answer_form(tool_call: ToolCall, data: QueryDict | None = None) -> AnswerForm:
    return configured().answer_form(tool_call, data)
