"""Whether a delivery still makes sense when its turn comes: it may have waited for minutes."""

from __future__ import annotations

from apps.approvals.models import ApprovalRequest
from apps.approvals.notifications.models import Delivery, Kind
from apps.approvals.permissions import objection_to

ASKS = {Kind.OPENED.value, Kind.REMINDED.value, Kind.ESCALATED.value, Kind.EXPIRING.value}


def is_wanted(delivery: Delivery) -> bool:
    """False for a question that is settled, and for people who may not decide (any more)."""
    if delivery.kind == Kind.TEST:
        return True
    if delivery.endpoint is not None:
        return delivery.endpoint.is_enabled and not (delivery.endpoint.is_chat and _is_moot(delivery))
    if delivery.person is None or delivery.request is None:
        return False
    if delivery.kind == Kind.STRANDED:
        return delivery.person.is_active and _is_stranded(delivery.request)
    return not _is_moot(delivery) and not objection_to(delivery.person, delivery.request)


def _is_stranded(request: ApprovalRequest) -> bool:
    """Nobody can decide as yet, or it was refused for that."""
    return request.stranded_at is not None and request.decided_by_id is None


def _is_moot(delivery: Delivery) -> bool:
    request = delivery.request
    return request is not None and delivery.kind in ASKS and not request.is_pending
