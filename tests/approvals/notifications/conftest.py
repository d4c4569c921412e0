"""An outbox with an approver who has an address, and a webhook to a real server on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from runtime.webhooks import http

from apps.approvals.notifications import delivery
from apps.approvals.notifications.models import Delivery, WebhookEndpoint
from tests.support.receiver import Receiver


@pytest.fixture
def receiver(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    settings.WEBHOOK_INTERNAL_HOSTS = ["127.0.0.1"]
    monkeypatch.setattr(http, "TIME_LIMIT", 1.0)
    with Receiver() as running:
        yield running


@pytest.fixture
def endpoint(receiver: Receiver, db: None) -> Callable[..., WebhookEndpoint]:
    def make(secret: str = "", **fields: Any) -> WebhookEndpoint:
        row = WebhookEndpoint(**{"name": "ours", "url": receiver.url, **fields})
        row.secret = secret
        row.save()
        return row

    return make


def perform_due() -> list[str]:
    """What a worker does with what is due now, and only once with each."""
    ids = list(Delivery.due().order_by("created_at").values_list("pk", flat=True))
    return [delivery.perform(str(pk)) for pk in ids]


def let_come_due(**which: Any) -> None:
    Delivery.objects.filter(status="pending", **which).update(due_at=Now() - timedelta(seconds=1))
