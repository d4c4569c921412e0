"""What a program called its request, so that it is not carried out twice."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime.models.runs import Run


class RequestKey(models.Model):
    """The `Idempotency-Key` of a request, and the run that came of it: written with the run, or not at all."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("requester")
    )
    """Whoever sent it. The run of a decision belongs to somebody else."""
    key = models.CharField(_("key"), max_length=255)
    digest = models.CharField(max_length=64)
    """SHA-256 of where it was sent and what it said."""
    run = models.ForeignKey(Run, models.CASCADE, related_name="+", verbose_name=_("run"))
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("key of a request")
        verbose_name_plural = _("keys of requests")
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "key"], name="request_key_once")]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="request_key_by_age")]

    def __str__(self) -> str:
        return self.key
