"""Takes what is due out of the outbox and tries to deliver it. Runs in the workers of the queue `maintenance`.

A delivery is claimed under a lease before it is tried, so nobody else tries it meanwhile. A process that dies
between sending and saying so leaves one that is sent again when its lease is over: at least once, not exactly once.
"""

from __future__ import annotations

import logging
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from runtime.webhooks.http import Unsuccessful
from runtime.webhooks.retries import LEASE, MAX_TRIES, delay

from apps.approvals.notifications import mail, webhooks
from apps.approvals.notifications.models import (
    Channel,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Kind,
    WebhookEndpoint,
)
from apps.approvals.notifications.wanted import is_wanted

logger = logging.getLogger(__name__)

AT_ONCE_TO_ONE = 4  # attempts under way to one webhook
TOGETHER = 1000  # in one message at most

Outcome = DeliveryAttempt.Outcome


def perform(delivery_id: str) -> str:
    """The job: sends this delivery, with all else that is due for the same person or chat. Says what came of it."""
    batch = claim(UUID(delivery_id))
    if not batch:
        return "not claimed"
    wanted = [delivery for delivery in batch if is_wanted(delivery)]
    _settle([delivery for delivery in batch if delivery not in wanted], DeliveryStatus.SKIPPED)
    if not wanted:
        return "no longer needed"
    attempts = DeliveryAttempt.objects.bulk_create([DeliveryAttempt(delivery=each) for each in wanted])
    try:
        status = _send(wanted)
    except Unsuccessful as problem:
        return _fail(wanted, attempts, problem)
    except Exception as error:  # a fault of ours is shown and retried as well: nobody waits for it in silence
        logger.exception("delivery failed", extra={"action": "delivery_failed", "delivery_id": delivery_id})
        return _fail(wanted, attempts, Unsuccessful(type(error).__name__))
    _record(attempts, Outcome.SENT, status)
    _settle(wanted, DeliveryStatus.SENT)
    return "sent"


@transaction.atomic
def claim(delivery_id: UUID) -> list[Delivery]:
    """The delivery and those that go with it, now ours for the lease; none when it is not due or somebody's."""
    first = Delivery.objects.filter(pk=delivery_id).select_related("endpoint").first()
    if first is None:
        return []
    _one_at_a_time(first)
    due = Delivery.due().filter(pk=delivery_id)
    if _goes_with_others(first):
        due = (
            Delivery.due().filter(person=first.person_id, endpoint=first.endpoint_id).exclude(kind=Kind.TEST)
        )
    if _is_busy(first.endpoint) or not Delivery.due().filter(pk=delivery_id).exists():
        return []
    ids = list(due.order_by("created_at").values_list("pk", flat=True)[:TOGETHER])
    Delivery.objects.filter(pk__in=ids).update(
        status=DeliveryStatus.SENDING, tries=F("tries") + 1, lease_expires_at=Now() + LEASE
    )
    mine = Delivery.objects.filter(pk__in=ids).order_by("created_at")
    return list(
        mine.select_related("person", "endpoint", "request__approvers", "request__decided_by").select_related(
            "request__tool_call__user", "request__tool_call__assistant"
        )
    )


def _goes_with_others(delivery: Delivery) -> bool:
    if delivery.kind == Kind.TEST:
        return False
    return delivery.channel == Channel.EMAIL or bool(delivery.endpoint and delivery.endpoint.is_chat)


def _one_at_a_time(delivery: Delivery) -> None:
    """Until the end of the transaction: two claims for one recipient would split what belongs together."""
    key = f"delivery {delivery.channel} {delivery.person_id} {delivery.endpoint_id}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


def _is_busy(endpoint: WebhookEndpoint | None) -> bool:
    """One that hangs must not keep all of a worker's slots; what is turned away comes again in seconds."""
    if endpoint is None:
        return False
    under_way = endpoint.deliveries.filter(status=DeliveryStatus.SENDING, lease_expires_at__gt=Now())
    return under_way.count() >= AT_ONCE_TO_ONE


def _send(deliveries: list[Delivery]) -> int | None:
    if deliveries[0].channel == Channel.EMAIL:
        mail.send(deliveries)
        return None
    return webhooks.send(deliveries)


def _record(
    attempts: list[DeliveryAttempt], outcome: str, status: int | None = None, error: str = ""
) -> None:
    rows = DeliveryAttempt.objects.filter(pk__in=[attempt.pk for attempt in attempts])
    rows.update(outcome=outcome, ended_at=Now(), http_status=status, error=error[:300])


def _settle(deliveries: list[Delivery], status: str, *, error: str = "") -> None:
    _ours(deliveries).update(status=status, settled_at=Now(), lease_expires_at=None, error=error[:300])


def _fail(deliveries: list[Delivery], attempts: list[DeliveryAttempt], problem: Unsuccessful) -> str:
    """Those that have been tried often enough are given up; the rest stays together for the next try."""
    _record(attempts, Outcome.FAILED, problem.status, str(problem))
    hopeless = [each for each in deliveries if problem.is_final or each.tries >= MAX_TRIES]
    rest = [each for each in deliveries if each not in hopeless]
    _settle(hopeless, DeliveryStatus.FAILED, error=str(problem))
    if rest:
        _ours(rest).update(
            status=DeliveryStatus.PENDING,
            due_at=Now() + delay(max(each.tries for each in rest)),
            lease_expires_at=None,
            error=str(problem)[:300],
        )
    extra = {"action": "delivery_unsuccessful", "given_up": len(hopeless), "again": len(rest)}
    logger.warning("delivery unsuccessful", extra=extra)
    return "to be tried again" if rest else "failed"


def _ours(deliveries: list[Delivery]) -> QuerySet[Delivery]:
    """Not those that somebody took over because we took too long: they have one try more."""
    ours = Q(pk__in=[])
    for each in {delivery.tries for delivery in deliveries}:
        ours |= Q(pk__in=[delivery.pk for delivery in deliveries if delivery.tries == each], tries=each)
    return Delivery.objects.filter(ours, status=DeliveryStatus.SENDING)
