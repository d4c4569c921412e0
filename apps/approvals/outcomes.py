"""What a decision makes of a request and of its call, and whether the policy lets it."""

from __future__ import annotations

import json
from copy import copy
from typing import Any, NamedTuple

from django.db.models.functions import Now
from django.utils.translation import gettext as _
from runtime import ledger, masking
from runtime.exceptions import AlreadyDecided, InvalidDecision
from runtime.models import CallKind, ToolCall, ToolState
from runtime.schemas import Decision

from apps.approvals import answers, arguments, conditions
from apps.approvals.matching import matching_rule
from apps.approvals.models import ApprovalRequest, DecisionKind, PolicyRule, RequestStatus, Way

# By the question that was asked.
_OUTCOMES: dict[tuple[str, str], tuple[str, str]] = {
    ("permission", "approve"): (RequestStatus.APPROVED, ToolState.APPROVED),
    ("permission", "edit"): (RequestStatus.APPROVED, ToolState.APPROVED),
    ("permission", "respond"): (RequestStatus.RESPONDED, ToolState.RESPONDED),
    ("permission", "reject"): (RequestStatus.REJECTED, ToolState.REJECTED),
    # Cut off in the middle: run it again, record what it did, or call it failed.
    ("outcome", "approve"): (RequestStatus.APPROVED, ToolState.APPROVED),
    ("outcome", "respond"): (RequestStatus.RESPONDED, ToolState.RESPONDED),
    ("outcome", "reject"): (RequestStatus.REJECTED, ToolState.FAILED),
}


class PolicyChanged(AlreadyDecided):
    """The request was asked under what the policy no longer says."""

    def __init__(self, request: ApprovalRequest) -> None:
        super().__init__(
            _("The policy has changed since this was asked. It is asked again: reload the queue.")
        )
        self.request_id = request.pk


class Outcome(NamedTuple):
    status: str
    """Of the request."""
    state: str
    """Of the call."""
    fields: dict[str, Any]
    """Further ones, of the call."""
    args: dict[str, Any] | None
    """What is to run in place of what was proposed."""

    @property
    def is_approval(self) -> bool:
        return self.status == RequestStatus.APPROVED


def of(request: ApprovalRequest, decision: Decision, via: str) -> Outcome:
    """Raises InvalidDecision: a kind that is not allowed here, a reason or an answer missing, wrong arguments."""
    kind = decision.get("type", "")
    if kind not in allowed(request):
        raise InvalidDecision(_("%(kind)r is not a decision this request can take.") % {"kind": kind})
    note = decision.get("message", "").strip()
    if kind == "reject" and not note and via != Way.CONFIRM:
        raise InvalidDecision(_("Give a reason: the assistant and the requester are told."))
    is_answer = request.tool_call.kind == CallKind.QUESTION and kind == "respond"
    if kind == "respond" and not note and not is_answer:
        raise InvalidDecision(_("Write the answer the assistant is to get in place of the tool's."))
    if kind in ("approve", "edit") and not note and via != Way.CONFIRM and needs_reason(request):
        raise InvalidDecision(_("The policy wants a reason for approving this."))
    fields: dict[str, Any] = {}
    args = None
    if kind == "respond":
        answer = _answer(decision, request.tool_call) if is_answer else {"result": masking.mask(note)}
        fields = {**answer, "finished_at": Now()}
    if kind == "edit":
        if "args" not in decision:
            raise InvalidDecision(_("Say with which arguments it is to run."))
        args, sealed = _edited(decision["args"], request.tool_call)
        _hold_within_bounds(request, args)
        fields = {"args": args, "args_digest": ledger.digest(args), "sealed": sealed}
    if request.question == ApprovalRequest.Question.OUTCOME and kind == "reject":
        fields = {"error": masking.mask(note), "finished_at": Now()}
    status, state = _OUTCOMES[request.question, kind]
    return Outcome(status, state, fields, args)


def _edited(args: Any, tool_call: ToolCall) -> tuple[dict[str, Any], str]:
    """The arguments without their secrets, and those sealed. The schema is about what they are, not about marks."""
    schema = tool_call.args_schema
    checked = arguments.checked(masking.opened(args, tool_call.sealed), schema)
    masked, values = masking.taken(checked, masking.secret_names(schema))
    return masked, masking.kept(values, with_=tool_call.sealed) if values else tool_call.sealed


def _answer(decision: Decision, question: ToolCall) -> dict[str, Any]:
    """As the row keeps it. The graph asked for it, and gets it whole."""
    text = answers.checked(decision, question.args_schema)
    masked, values = masking.taken(json.loads(text) if question.args_schema else text)
    if not values:
        return {"result": text}
    told = json.dumps(masked, ensure_ascii=False) if question.args_schema else masked
    return {"result": told, "sealed": masking.kept(values, with_=question.sealed)}


def _hold_within_bounds(request: ApprovalRequest, args: dict[str, Any]) -> None:
    """Against what the model proposed: several small edits reach no further than one."""
    bounds = request.version.bounds if request.version else []
    found = conditions.within(bounds, request.tool_call.proposed_args, args)
    if found:
        raise InvalidDecision("\n".join(f"{name}: {problem}" for name, problem in found))


def allowed(request: ApprovalRequest) -> list[str]:
    """The kinds of decision it can take: what the policy allows, and the graph where it asks by itself.

    How a call ended is always for a person to say.
    """
    if request.question == ApprovalRequest.Question.OUTCOME:
        return ["approve", "respond", "reject"]
    kinds = request.version.content["decisions"] if request.version else list(DecisionKind.values)
    takes = request.tool_call.takes or kinds
    # Nobody alone puts words into the mouth of a tool that several people have to approve.
    alone = ["respond"] if request.quorum > 1 else []
    return [kind for kind in kinds if kind in takes and kind not in alone]


def needs_reason(request: ApprovalRequest) -> bool:
    return bool(request.version and request.version.content["needs_reason"])


def needs_other_rule(request: ApprovalRequest, args: dict[str, Any]) -> bool:
    """Whether another rule asks about the call with these arguments."""
    rule = matching_rule(_with(request.tool_call, args))
    asks = rule is not None and rule.verdict == PolicyRule.Verdict.ASK
    return asks and rule != request.rule


def hold_against_policy(request: ApprovalRequest, args: dict[str, Any] | None) -> None:
    """Raises InvalidDecision when the policy denies it by now, and AlreadyDecided when it was asked under another."""
    rule = matching_rule(_with(request.tool_call, args) if args is not None else request.tool_call)
    if rule is None:
        return  # the policy has the last word before it runs
    if rule.verdict == PolicyRule.Verdict.DENY:
        raise InvalidDecision(_("The policy denies this: %(rule)s. Reject it.") % {"rule": rule.name})
    is_bound = request.version is not None and rule.digest() == request.version.digest
    if rule.verdict == PolicyRule.Verdict.ASK and not is_bound:
        raise PolicyChanged(request)


def _with(tool_call: ToolCall, args: dict[str, Any]) -> ToolCall:
    edited = copy(tool_call)
    edited.args = args
    return edited
