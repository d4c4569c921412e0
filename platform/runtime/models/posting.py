"""What two outboxes share: notifications of approvals, and webhooks of runs."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Posted(models.Model):
    """A row of an outbox, whose model has `status`, `due_at`, `tries`, `lease_expires_at` and `settled_at`."""

    class Meta:
        abstract = True

    @classmethod
    def due(cls) -> models.QuerySet[Self]:
        """What should be on its way by now: its time has come, or whoever sent it has died."""
        waits = Q(status="pending", due_at__lte=Now())
        left = Q(status="sending", lease_expires_at__lte=Now())
        return cls._default_manager.filter(waits | left)

    @classmethod
    def retry(cls, rows: models.QuerySet[Any]) -> int:
        """Failed ones go back into the outbox. How many that were."""
        return rows.filter(status="failed").update(
            status="pending", tries=0, due_at=Now(), settled_at=None, lease_expires_at=None
        )


class Attempt(models.Model):
    """One try. Written before it, and completed after: one that is cut off stays "begun"."""

    class Outcome(models.TextChoices):
        BEGUN = "begun", _("begun, no end recorded")
        SENT = "sent", _("sent")
        FAILED = "failed", _("failed")

    started_at = models.DateTimeField(_("when"), db_default=Now(), editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True)
    outcome = models.CharField(_("outcome"), max_length=6, choices=Outcome.choices, default=Outcome.BEGUN)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    error = models.CharField(_("error"), max_length=300, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.get_outcome_display()
