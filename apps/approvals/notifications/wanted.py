"""Whether a delivery still makes sense when its turn comes: it may have waited for minutes."""

from __future__ import annotations

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
    return not _is_moot(delivery) and not objection_to(delivery.person, delivery.request)


def _is_moot(delivery: Delivery) -> bool:
    request = delivery.request
    return request is not None and delivery.kind in ASKS and not request.is_pending
