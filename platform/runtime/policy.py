"""The policy port: the engine asks whether a tool call may run; the implementation is named in a setting."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, cast

from django.conf import settings

from runtime.models import ToolCall


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


def configured() -> Policy | None:
    path = getattr(settings, "COUNTERSIGN_POLICY", None)
    return cast(Policy, import_module(path)) if path else None


def judge(tool_call: ToolCall) -> Verdict:
    """Fails closed: without a policy only calls that are not sensitive run."""
    policy = configured()
    if policy is not None:
        return policy.judge(tool_call)
    if tool_call.sensitive:
        return Verdict("deny", rule="no policy", reason="No approval policy is configured.")
    return Verdict("allow", rule="no policy")


def objection(tool_call: ToolCall) -> str:
    policy = configured()
    if policy is not None:
        return policy.objection(tool_call)
    return "No approval policy is configured." if tool_call.sensitive else ""
