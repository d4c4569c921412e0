"""A tool call as people see it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from runtime import decisions
from runtime.decisions import AnswerForm
from runtime.models import UNSETTLED, CallKind, ToolCall, ToolState
from runtime.schemas import DecisionType

# state -> (tone, icon); the state's name stands beside them, so colour alone tells nothing.
LOOKS: dict[str, tuple[str, str]] = {
    ToolState.PROPOSED: ("neutral", "dots"),
    ToolState.WAITING: ("waiting", "clock"),
    ToolState.APPROVED: ("good", "check"),
    ToolState.RUNNING: ("live", "play"),
    ToolState.DONE: ("good", "check"),
    ToolState.FAILED: ("bad", "alert"),
    ToolState.REJECTED: ("bad", "cross"),
    ToolState.RESPONDED: ("good", "reply"),
    ToolState.DENIED: ("bad", "ban"),
    ToolState.EXPIRED: ("neutral", "clock"),
    ToolState.SUPERSEDED: ("neutral", "forward"),
    ToolState.CANCELLED: ("neutral", "cross"),
    ToolState.UNKNOWN: ("waiting", "question"),
}

DECISIONS = {
    "approve": gettext_lazy("Approved by %(who)s"),
    "edit": gettext_lazy("Changed and approved by %(who)s"),
    "reject": gettext_lazy("Rejected by %(who)s"),
    "respond": gettext_lazy("Answered by %(who)s"),
    "withdraw": gettext_lazy("Withdrawn by %(who)s"),
}


@dataclass(frozen=True)
class Argument:
    name: str
    proposed: str | None
    """None: the reviewer added it."""
    run: str | None
    """None: the reviewer took it away."""
    is_changed: bool


def arguments_of(proposed: Mapping[str, Any], run: Mapping[str, Any]) -> list[Argument]:
    """Every argument once, in the order the model gave them."""
    names = dict.fromkeys([*proposed, *run])
    return [
        Argument(name, _shown(proposed, name), _shown(run, name), _json(proposed, name) != _json(run, name))
        for name in names
    ]


def _json(arguments: Mapping[str, Any], name: str) -> str | None:
    """As the tool sees it: "1" is not 1, and 1 is not True."""
    return json.dumps(arguments[name], sort_keys=True) if name in arguments else None


def _shown(arguments: Mapping[str, Any], name: str) -> str | None:
    if name not in arguments:
        return None
    value = arguments[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


@dataclass(frozen=True)
class Card:
    """What the template of a tool call asks for."""

    call: ToolCall
    filled_in: AnswerForm | None = None
    """The answer as it was typed, when it was not taken."""

    @property
    def is_question(self) -> bool:
        return self.call.kind == CallKind.QUESTION

    @property
    def title(self) -> str:
        return _("Question") if self.is_question else self.call.tool

    @property
    def state(self) -> str:
        """What has become of it, in words."""
        if self.is_question and self.call.state == ToolState.WAITING:
            return _("waiting for an answer")
        if self.call.kind == CallKind.ACTION and self.call.state == ToolState.DONE:
            return _("handed to the graph")
        return self.call.get_state_display()

    @cached_property
    def kinds(self) -> list[DecisionType]:
        """What the person whose thread it is may say to it here; empty where others decide."""
        is_open = self.call.state == ToolState.WAITING
        return decisions.may_answer(self.call.user, self.call) if is_open else []

    @cached_property
    def form(self) -> AnswerForm:
        return self.filled_in or decisions.answer_form(self.call)

    @property
    def tone(self) -> str:
        return LOOKS[self.call.state][0]

    @property
    def icon(self) -> str:
        return LOOKS[self.call.state][1]

    @cached_property
    def asked(self) -> decisions.Asked | None:
        """Who is asked about it now, while it waits."""
        return decisions.asked(self.call) if self.call.state in UNSETTLED else None

    @property
    def is_open(self) -> bool:
        return not self.call.is_settled

    @property
    def may_be_withdrawn(self) -> bool:
        return self.call.state == ToolState.WAITING and "reject" not in self.kinds

    @property
    def is_edited(self) -> bool:
        return self.call.is_edited

    @property
    def arguments(self) -> list[Argument]:
        return arguments_of(self.call.proposed_args, self.call.args)

    @property
    def result(self) -> str:
        """The tool's answer; JSON is laid out for reading."""
        try:
            parsed = json.loads(self.call.result)
        except ValueError:
            return self.call.result
        is_plain = not isinstance(parsed, (dict, list))
        return self.call.result if is_plain else json.dumps(parsed, ensure_ascii=False, indent=2)

    @property
    def decision(self) -> str:
        """Who or what settled whether it may run; empty while that is open."""
        call = self.call
        if call.decision in DECISIONS and call.decided_at:
            return str(DECISIONS[call.decision]) % {
                "who": call.decided_by or _("somebody whose account is gone")
            }
        if call.state == ToolState.DENIED:
            return _("Denied by the rule “%(rule)s”") % {"rule": call.policy}
        if call.state in (ToolState.APPROVED, ToolState.RUNNING, ToolState.DONE, ToolState.FAILED):
            return _("Allowed by the rule “%(rule)s”") % {"rule": call.policy} if call.policy else ""
        return ""
