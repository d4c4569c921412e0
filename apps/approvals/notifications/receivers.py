"""What happens to requests by itself or by decision, and what is due, as notifications."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now
from django.dispatch import receiver
from runtime import signals
from runtime.models import ToolCall, ToolState

from apps.approvals.models import ApprovalRequest, RequestStatus
from apps.approvals.notifications import outbox
from apps.approvals.notifications.models import Delivery, Kind

WARN_BEFORE = timedelta(minutes=10)  # only requests that had twice as long from the start
AT_ONE_LOOK = 100  # the next comes in seconds

DECIDED = {
    ToolState.APPROVED.value: RequestStatus.APPROVED,
    ToolState.REJECTED.value: RequestStatus.REJECTED,
    ToolState.RESPONDED.value: RequestStatus.RESPONDED,
    ToolState.FAILED.value: RequestStatus.REJECTED,  # somebody says of a call that was cut off that it failed
    ToolState.EXPIRED.value: RequestStatus.EXPIRED,
}


@receiver(signals.tool_call_changed)
def tell_what_was_decided(tool_call: ToolCall, **_: Any) -> None:
    status = DECIDED.get(tool_call.state)
    if status is None or (status != RequestStatus.EXPIRED and tool_call.decided_by_id is None):
        return
    newest = tool_call.approval_requests.select_related("approvers", "tool_call").order_by("-created_at")
    request = newest.first()
    if request is None or request.status != status or not _is_answer(request, tool_call.state):
        return
    outbox.announce(request, Kind.EXPIRED if status == RequestStatus.EXPIRED else Kind.DECIDED)


def _is_answer(request: ApprovalRequest, state: str) -> bool:
    """A call that was permitted and then failed by itself was decided on long before."""
    return state != ToolState.FAILED or request.question == ApprovalRequest.Question.OUTCOME


@receiver(signals.reconciling)
def bring_what_is_due(**_: Any) -> None:
    warn_of_expiry()
    outbox.enqueue_due()


def warn_of_expiry() -> int:
    """Announces requests that are about to expire, each once. How many."""
    told = Delivery.objects.filter(request=OuterRef("pk"), kind=Kind.EXPIRING)
    soon = ApprovalRequest.objects.filter(
        ~Exists(told),
        status=RequestStatus.PENDING,
        expires_at__gt=Now(),
        expires_at__lte=Now() + WARN_BEFORE,
        created_at__lte=F("expires_at") - 2 * WARN_BEFORE,
    )
    return sum(_warn(pk) for pk in soon.values_list("pk", flat=True)[:AT_ONE_LOOK])


@transaction.atomic
def _warn(request_id: Any) -> bool:
    """Of two workers at once, one leaves it to the other."""
    pending = ApprovalRequest.objects.filter(pk=request_id, status=RequestStatus.PENDING)
    request = pending.select_related("tool_call").select_for_update(of=("self",), skip_locked=True).first()
    if request is None or Delivery.objects.filter(request=request, kind=Kind.EXPIRING).exists():
        return False
    return outbox.announce(request, Kind.EXPIRING) > 0
