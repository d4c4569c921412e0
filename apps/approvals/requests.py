"""Asking: a request is opened, reminded of, escalated, and expires."""

from __future__ import annotations

from runtime.models import ToolCall

from apps.approvals.models import ApprovalRequest
from apps.approvals.policy import asking_rule


def open_request(tool_call: ToolCall, question: str) -> ApprovalRequest:
    """Asks those whom the rule names as it is now. Only a question for permission can expire."""
    rule = asking_rule(tool_call)
    if rule is None:
        return ApprovalRequest.objects.create(tool_call=tool_call, question=question)
    is_permission = question == ApprovalRequest.Question.PERMISSION
    return ApprovalRequest.objects.create(
        tool_call=tool_call,
        question=question,
        rule=rule,
        version=rule.version(),
        approvers=rule.approvers,
        risk=rule.risk,
        quorum=rule.quorum if is_permission else 1,
        expires_at=rule.after(rule.expires_after) if is_permission else None,
        remind_at=rule.after(rule.remind_after),
    )
