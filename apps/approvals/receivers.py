"""Asks the approvers as soon as a tool call waits, in the transaction that made it wait."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.dispatch import receiver
from runtime import events, signals
from runtime.models import ToolCall, ToolState

from apps.approvals.models import ApprovalRequest, PolicyRule

QUESTIONS = {
    ToolState.WAITING.value: ApprovalRequest.Question.PERMISSION,
    ToolState.UNKNOWN.value: ApprovalRequest.Question.OUTCOME,
}


@receiver(signals.tool_call_changed)
def ask(tool_call: ToolCall, **_: Any) -> None:
    question = QUESTIONS.get(tool_call.state)
    if question is not None:
        rule = PolicyRule.objects.filter(name=tool_call.policy).select_related("approvers").first()
        ApprovalRequest.objects.create(
            tool_call=tool_call, question=question, rule=rule, approvers=rule.approvers if rule else None
        )
    transaction.on_commit(lambda: events.notify("approvals"))
