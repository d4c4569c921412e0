"""Runs that begin by themselves: a schedule with what is run, and each time that was due."""

from __future__ import annotations

import uuid
from typing import ClassVar

from accounts.models import ApiKey
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime.models.assistants import Assistant
from runtime.models.runs import Run
from runtime.models.threads import Thread


class Cron(models.Model):
    """Begins a run of its owner's whenever it is due, with the rights that its owner has by then."""

    class Afterwards(models.TextChoices):
        DELETE = "delete", _("the thread goes with the run")
        KEEP = "keep", _("the thread stays")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="crons", verbose_name=_("owner")
    )
    key = models.ForeignKey(
        ApiKey, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("key")
    )
    """What it was made or changed with last: it ends with it. Null: with a token or a page, and ends with its owner."""
    assistant = models.ForeignKey(
        Assistant, models.PROTECT, related_name="crons", verbose_name=_("assistant")
    )
    thread = models.ForeignKey(
        Thread, models.CASCADE, null=True, blank=True, related_name="crons", verbose_name=_("thread")
    )
    """Null: each run has a thread of its own."""
    schedule = models.CharField(_("schedule"), max_length=200)
    timezone = models.CharField(_("time zone"), max_length=64, blank=True)
    """Empty: UTC."""
    is_enabled = models.BooleanField(_("enabled"), default=True)
    end_time = models.DateTimeField(_("ends"), null=True, blank=True)
    on_run_completed = models.CharField(
        _("afterwards"), max_length=6, choices=Afterwards.choices, default=Afterwards.DELETE
    )
    payload = models.JSONField(_("payload"), default=dict)
    """What a program would send to begin the run, without the webhook."""
    sealed = models.TextField(blank=True, default="", editable=False)
    """What stood in the payload in the place of each mark: `runtime.masking`."""
    sealed_webhook = models.TextField(blank=True, default="", editable=False)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    next_run_at = models.DateTimeField(_("next run"), null=True, blank=True)
    """Null: there is none, or it is not enabled."""
    problem = models.CharField(_("problem"), max_length=300, blank=True)
    """Why it stopped, or began nothing when it was due last."""
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("cron")
        verbose_name_plural = _("crons")
        ordering: ClassVar = ["-created_at"]
        default_permissions: ClassVar = ["view", "change"]
        indexes: ClassVar = [
            models.Index(fields=["next_run_at"], name="cron_due", condition=Q(is_enabled=True)),
            models.Index(fields=["owner", "-created_at"], name="cron_by_owner"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(is_enabled=True) | Q(next_run_at__isnull=True), name="cron_off_is_never_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.schedule} {self.timezone}".rstrip()

    @classmethod
    def due(cls) -> models.QuerySet[Cron]:
        return cls.objects.filter(is_enabled=True, next_run_at__lte=Now())


class CronTurn(models.Model):
    """One time that a cron was due: there is at most one run for it, however many workers look."""

    cron = models.ForeignKey(Cron, models.CASCADE, related_name="turns", verbose_name=_("cron"))
    due_at = models.DateTimeField(_("due"))
    run = models.ForeignKey(
        Run, models.SET_NULL, null=True, blank=True, related_name="cron_turns", verbose_name=_("run")
    )
    problem = models.CharField(_("problem"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("when"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("turn of a cron")
        verbose_name_plural = _("turns of crons")
        ordering: ClassVar = ["-due_at"]
        default_permissions: ClassVar = ["view"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["cron", "due_at"], name="cron_turn_once")]

    def __str__(self) -> str:
        return f"{self.due_at:%Y-%m-%d %H:%M}"
