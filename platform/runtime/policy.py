"""The policy port: the engine asks whether a tool call may run; the implementation is named in a setting."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, cast

from django.conf import settings
from django.db import transaction

from runtime.models import ToolCall

logger = logging.getLogger(__name__)

NO_POLICY = "No approval policy is configured."
UNREADABLE = "The policy could not be read."


@dataclass(frozen=True)
class Verdict:
    """What the policy says of a call."""

    kind: Literal["allow", "ask", "deny"]
    rule: str
    """Name of the rule that matched, kept with the call."""
    reason: str = ""


class Policy(Protocol):
    def judge(self, tool_call: ToolCall) -> Verdict:
        """The verdict on a proposed call. Whatever it raises counts as deny."""
        ...

    def objection(self, tool_call: ToolCall) -> str:
        """Why an approval given earlier no longer stands; empty when it does. Asked just before the effect."""
        ...


def judge(tool_call: ToolCall) -> Verdict:
    """Fails closed: without a policy only calls that are not sensitive run, with a broken one none does."""
    policy = _configured()
    if policy is None:
        allowed = not tool_call.sensitive
        return Verdict("allow" if allowed else "deny", rule="no policy", reason="" if allowed else NO_POLICY)
    try:
        with transaction.atomic():
            return policy.judge(tool_call)
    except Exception:
        _log_failure(tool_call)
        return Verdict("deny", rule="unreadable policy", reason=UNREADABLE)


def objection(tool_call: ToolCall) -> str:
    policy = _configured()
    if policy is None:
        return NO_POLICY if tool_call.sensitive else ""
    try:
        with transaction.atomic():
            return policy.objection(tool_call)
    except Exception:
        _log_failure(tool_call)
        return UNREADABLE


def _configured() -> Policy | None:
    path = getattr(settings, "COUNTERSIGN_POLICY", None)
    return cast(Policy, import_module(path)) if path else None


def _log_failure(tool_call: ToolCall) -> None:
    logger.exception("policy failed", extra={"action": "policy_failed", "tool_call_id": str(tool_call.pk)})
