"""The address that a program wants told of a run's end: the outbox of it, and what became of each try."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime import seal
from runtime.models.posting import Attempt, Posted
from runtime.models.runs import Run


class WebhookStatus(models.TextChoices):
    ARMED = "armed", _("waits for its run")
    PENDING = "pending", _("waiting")
    SENDING = "sending", _("being sent")
    SENT = "sent", _("sent")
    FAILED = "failed", _("failed")


class RunWebhook(Posted):
    """One POST for one run. Written with the run, and due with its end: both in the transactions of those."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    """Also what the receiver tells repetitions by."""
    run = models.OneToOneField(Run, models.CASCADE, related_name="webhook", verbose_name=_("run"))
    sealed_url = models.TextField(editable=False)
    host = models.CharField(_("host"), max_length=255)
    """All of the address that is shown: the rest may hold a token."""
    values = models.JSONField(_("values"), null=True)
    """What the run left, kept until it is sent: by then the thread may have gone on. Null: a worker has to be asked."""
    status = models.CharField(
        _("status"), max_length=7, choices=WebhookStatus.choices, default=WebhookStatus.ARMED
    )
    due_at = models.DateTimeField(_("due"), null=True)
    lease_expires_at = models.DateTimeField(null=True)
    """Until when whoever sends it has it to itself."""
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    """Since a person last had it tried again; `attempts` has all of them."""
    error = models.CharField(_("error"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    settled_at = models.DateTimeField(_("settled"), null=True)

    class Meta:
        verbose_name = _("webhook of a run")
        verbose_name_plural = _("webhooks of runs")
        ordering: ClassVar = ["-created_at"]
        default_permissions: ClassVar = ["view", "change"]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"], name="run_webhook_due", condition=Q(status__in=["pending", "sending"])
            ),
            models.Index(fields=["host"], name="run_webhook_under_way", condition=Q(status="sending")),
            models.Index(fields=["-created_at"], name="run_webhook_by_age"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=WebhookStatus.values), name="run_webhook_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="pending") | Q(due_at__isnull=False), name="run_webhook_pending_is_due"
            ),
            models.CheckConstraint(
                condition=~Q(status="sending") | Q(lease_expires_at__isnull=False),
                name="run_webhook_sending_has_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}: {self.get_status_display()}"

    @property
    def url(self) -> str:
        """Raises seal.Unreadable when it was sealed under another key."""
        return seal.opened(self.sealed_url, seal.RUN_WEBHOOKS)

    @classmethod
    def order(cls, run: Run, url: str) -> None:
        """For the transaction that writes the run."""
        host = urlsplit(url).hostname or ""
        cls.objects.create(run=run, sealed_url=seal.sealed(url, seal.RUN_WEBHOOKS), host=host)

    @classmethod
    def pass_on(cls, before: Run, run: Run) -> None:
        """The run that goes on tells of its end where the one that waited told of its own."""
        known = cls.objects.filter(run=before).first()
        if known is not None:
            cls.objects.create(run=run, sealed_url=known.sealed_url, host=known.host)

    @classmethod
    def armed(cls, run: Run) -> RunWebhook | None:
        """That of the run, while nobody was told."""
        return cls.objects.filter(run=run, status=WebhookStatus.ARMED).first()

    def release(self, values: Any) -> bool:
        """It is due: the run has ended, or waits. For the transaction of that; False when it was due before."""
        armed = RunWebhook.objects.filter(pk=self.pk, status=WebhookStatus.ARMED)
        return armed.update(status=WebhookStatus.PENDING, due_at=Now(), values=values) == 1


class RunWebhookAttempt(Attempt):
    webhook = models.ForeignKey(
        RunWebhook, models.CASCADE, related_name="attempts", verbose_name=_("webhook of a run")
    )

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering: ClassVar = ["-started_at"]
        default_permissions: ClassVar = ["view"]
