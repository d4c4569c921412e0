"""Asks the approvers as soon as a tool call waits, in the transaction that made it wait."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from django.db import transaction
from django.db.models.signals import m2m_changed, post_save
from django.dispatch import receiver
from runtime import erasure, events, signals
from runtime.models import ToolCall, ToolState

from apps.approvals import requests, stranded
from apps.approvals.models import ApprovalRequest, RequestStatus

QUESTIONS = {
    ToolState.WAITING.value: ApprovalRequest.Question.PERMISSION,
    ToolState.UNKNOWN.value: ApprovalRequest.Question.OUTCOME,
}

# What becomes of a question that nobody answered, when its call stops waiting by itself.
MOOT = {
    ToolState.CANCELLED.value: RequestStatus.CANCELLED,
    ToolState.EXPIRED.value: RequestStatus.EXPIRED,
    ToolState.SUPERSEDED.value: RequestStatus.SUPERSEDED,
}


@receiver(signals.tool_call_changed)
def ask(tool_call: ToolCall, **_: Any) -> None:
    question = QUESTIONS.get(tool_call.state)
    if question is not None:
        requests.open_request(tool_call, question)
    if tool_call.state in MOOT:
        for request in tool_call.approval_requests.filter(status=RequestStatus.PENDING):
            request.close(MOOT[tool_call.state], in_time=False)
    transaction.on_commit(_notify)


@receiver(signals.reconciling)
def look_at_deadlines(**_: Any) -> None:
    requests.look_at_deadlines()
    stranded.look()  # last: what was asked anew is looked at at once


@receiver(post_save, sender=User)
def follow_person(update_fields: frozenset[str] | None, **_: Any) -> None:
    """Somebody switched off, or no longer staff, is not left with an open socket until its next heartbeat."""
    if update_fields != frozenset({"last_login"}):
        transaction.on_commit(_notify)


@receiver(m2m_changed, sender=User.groups.through)
def follow_groups(**_: Any) -> None:
    transaction.on_commit(_notify)


@receiver(erasure.erasing)
def hold_erasure(person: User, **_: Any) -> list[str]:
    """Not while somebody waits for a decision that nobody else could take."""
    others = User.objects.filter(is_active=True).exclude(pk=person.pk)
    alone = [group for group in person.groups.all() if not others.filter(groups=group).exists()]
    waiting = ApprovalRequest.objects.filter(status=RequestStatus.PENDING, approvers__in=alone).count()
    if not waiting:
        return []
    return [
        f"{waiting} approval requests wait for them and for nobody else. Decide, or add somebody to their group."
    ]


def _notify() -> None:
    events.notify("approvals")
