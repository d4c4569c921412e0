"""Who wants to be told what, and what became of every attempt to tell them."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from runtime import seal
from runtime.models.posting import Attempt, Posted


class Kind(models.TextChoices):
    """What a notification is about. Others pass these to `announce`."""

    OPENED = "opened", _("somebody waits for a decision")
    REMINDED = "reminded", _("a request still waits")
    ESCALATED = "escalated", _("a request was handed on")
    EXPIRING = "expiring", _("a request is about to expire")
    EXPIRED = "expired", _("a request has expired")
    DECIDED = "decided", _("a request was decided")
    BREAK_GLASS = "break_glass", _("a decision was forced in an emergency")
    STRANDED = "stranded", _("nobody could decide on a request")
    TEST = "test", _("a test")


CHOOSABLE = [(kind.value, kind.label) for kind in Kind if kind != Kind.TEST]


def all_kinds() -> list[str]:
    return [value for value, _label in CHOOSABLE]


def _kinds() -> Any:
    return ArrayField(
        models.CharField(max_length=12, choices=CHOOSABLE),
        verbose_name=_("events"),
        default=all_kinds,
        blank=True,
    )


class Wish(models.Model):
    """How e-mail is wanted."""

    class Mode(models.TextChoices):
        AT_ONCE = "at_once", _("at once")
        DIGEST = "digest", _("collected, every so many minutes")
        NONE = "none", _("no e-mail")

    mode = models.CharField(_("e-mail"), max_length=7, choices=Mode.choices, default=Mode.AT_ONCE)
    every = models.PositiveSmallIntegerField(
        _("minutes between two collected e-mails"),
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
    )
    events = _kinds()

    class Meta:
        abstract = True


class GroupPreference(Wish):
    """What holds for a group's members who have not chosen for themselves."""

    group = models.OneToOneField(Group, models.CASCADE, related_name="+", verbose_name=_("group"))

    class Meta:
        verbose_name = _("e-mail default of a group")
        verbose_name_plural = _("e-mail defaults of groups")

    def __str__(self) -> str:
        return self.group.name


class Preference(Wish):
    """What one person has chosen."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("person")
    )
    language = models.CharField(
        _("language"), max_length=10, choices=settings.LANGUAGES, default=settings.LANGUAGE_CODE
    )

    class Meta:
        verbose_name = _("e-mail preference")
        verbose_name_plural = _("e-mail preferences")
        default_permissions: ClassVar = []

    def __str__(self) -> str:
        return str(self.user)


class WebhookEndpoint(models.Model):
    """Another system that is told. The address is a secret too: a chat's holds its token."""

    class Format(models.TextChoices):
        GENERIC = "generic", _("JSON, signed")
        SLACK = "slack", "Slack"
        DINGTALK = "dingtalk", _("DingTalk")
        FEISHU = "feishu", _("Feishu")

    name = models.CharField(_("name"), max_length=100, unique=True)
    format = models.CharField(_("kind"), max_length=10, choices=Format.choices, default=Format.GENERIC)
    url = models.CharField(_("address"), max_length=500)
    sealed_secret = models.TextField(blank=True, editable=False)
    group = models.ForeignKey(
        Group,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group"),
        help_text=_("Only requests this group decides on. Empty: all requests."),
    )
    events = _kinds()
    is_enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_chat(self) -> bool:
        return self.format != self.Format.GENERIC

    @property
    def host(self) -> str:
        """All of the address that may be shown."""
        return urlsplit(self.url).hostname or ""

    @property
    def secret(self) -> str:
        """Raises seal.Unreadable when it was sealed under another key."""
        return seal.opened(self.sealed_secret) if self.sealed_secret else ""

    @secret.setter
    def secret(self, text: str) -> None:
        self.sealed_secret = seal.sealed(text) if text else ""


class Channel(models.TextChoices):
    EMAIL = "email", _("e-mail")
    WEBHOOK = "webhook", _("webhook")


class DeliveryStatus(models.TextChoices):
    PENDING = "pending", _("waiting")
    SENDING = "sending", _("being sent")
    SENT = "sent", _("sent")
    FAILED = "failed", _("failed")
    SKIPPED = "skipped", _("no longer needed")


class Delivery(Posted):
    """One thing to tell one recipient, written with what it tells about: the outbox."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    """Also what a webhook's receiver tells repetitions by."""
    channel = models.CharField(_("channel"), max_length=7, choices=Channel.choices)
    kind = models.CharField(_("event"), max_length=12, choices=Kind.choices)
    request = models.ForeignKey(
        "approvals.ApprovalRequest",
        models.CASCADE,
        null=True,
        related_name="deliveries",
        verbose_name=_("approval request"),
    )
    """Null: a test."""
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+", verbose_name=_("person")
    )
    endpoint = models.ForeignKey(
        WebhookEndpoint, models.CASCADE, null=True, related_name="deliveries", verbose_name=_("webhook")
    )
    status = models.CharField(
        _("status"), max_length=7, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING
    )
    due_at = models.DateTimeField(_("due"), db_default=Now())
    lease_expires_at = models.DateTimeField(null=True)
    """Until when whoever sends it has it to itself."""
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    """Since it was last put in the outbox by a person; `attempts` has all of them."""
    error = models.CharField(_("error"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    settled_at = models.DateTimeField(_("settled"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering: ClassVar = ["-created_at"]
        default_permissions: ClassVar = ["view", "change"]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"], name="delivery_due", condition=Q(status__in=["pending", "sending"])
            ),
            models.Index(fields=["person", "-created_at"], name="delivery_by_person"),
            models.Index(fields=["endpoint", "-created_at"], name="delivery_by_endpoint"),
            models.Index(fields=["status", "-created_at"], name="delivery_by_status"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(channel="email", person__isnull=False, endpoint__isnull=True)
                | Q(channel="webhook", person__isnull=True, endpoint__isnull=False),
                name="delivery_one_recipient",
            ),
            models.CheckConstraint(
                condition=Q(status__in=DeliveryStatus.values), name="delivery_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="sending") | Q(lease_expires_at__isnull=False),
                name="delivery_sending_has_lease",
            ),
            # What can be asked about but once is told once, whoever notices it first.
            models.UniqueConstraint(
                fields=["request", "kind", "person"],
                condition=Q(kind__in=["opened", "expiring", "expired"], person__isnull=False),
                name="delivery_once_per_person",
            ),
            models.UniqueConstraint(
                fields=["request", "kind", "endpoint"],
                condition=Q(kind__in=["opened", "expiring", "expired"], endpoint__isnull=False),
                name="delivery_once_per_endpoint",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.recipient}"

    @property
    def recipient(self) -> str:
        return str(self.person or self.endpoint)


class DeliveryAttempt(Attempt):
    delivery = models.ForeignKey(
        Delivery, models.CASCADE, related_name="attempts", verbose_name=_("delivery")
    )

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering: ClassVar = [F("started_at").desc()]
        default_permissions: ClassVar = ["view"]
