"""The policy port's implementation: rules in the database."""

from __future__ import annotations

from accounts.models import User
from django.utils.translation import gettext as _
from runtime.models import ToolCall
from runtime.policy import Verdict

from apps.approvals.matching import matching_rule
from apps.approvals.models import ApprovalRequest, PolicyRule, RequestStatus
from apps.approvals.permissions import objection_to


def asking_rule(tool_call: ToolCall) -> PolicyRule | None:
    """The rule that says who is asked: the one that asks now, else the one the call was judged by."""
    return _asking(matching_rule(tool_call), tool_call)


def _asking(rule: PolicyRule | None, tool_call: ToolCall) -> PolicyRule | None:
    if rule is not None and rule.verdict == PolicyRule.Verdict.ASK:
        return rule
    return PolicyRule.objects.filter(name=tool_call.policy).select_related("approvers").first()


def judge(tool_call: ToolCall) -> Verdict:
    return _verdict(matching_rule(tool_call), tool_call)


def _verdict(rule: PolicyRule | None, tool_call: ToolCall) -> Verdict:
    if rule is None and tool_call.sensitive:
        return Verdict(
            "deny",
            rule="no rule",
            reason=_("No policy rule is about this tool. An administrator can add one under Policy rules."),
        )
    if rule is None:
        return Verdict("allow", rule="not sensitive")
    match rule.verdict:
        case PolicyRule.Verdict.ALLOW:
            return Verdict("allow", rule=rule.name)
        case PolicyRule.Verdict.ASK:
            return Verdict("ask", rule=rule.name)
        case _:
            return Verdict("deny", rule=rule.name)


def objection(tool_call: ToolCall) -> str:
    """Asked again just before the effect: the rules and the approver as they are now."""
    rule = matching_rule(tool_call)
    verdict = _verdict(rule, tool_call)
    if verdict.kind == "deny":
        return verdict.reason or _("The policy denies this tool by now.")
    if verdict.kind == "allow":
        return ""
    approvals = tool_call.approval_requests.filter(status=RequestStatus.APPROVED).select_related("decided_by")
    approved = approvals.order_by("-decided_at").first()
    if approved is None or approved.decided_by is None:
        return _("Nobody has approved it.")
    approved.tool_call = tool_call
    return _still_entitled(approved.decided_by, approved, _asking(rule, tool_call))


def _still_entitled(approver: User, request: ApprovalRequest, rule: PolicyRule | None) -> str:
    if rule is not None:
        request.approvers = rule.approvers  # who decides by now, should the rule have changed
    problem = objection_to(approver, request)
    return _("The approval no longer stands: %(why)s") % {"why": problem} if problem else ""
