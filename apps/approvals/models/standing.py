"""What stands in an approver's place: a delegate while they are away, a grant for what they would allow anyway."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from runtime.models import Assistant, Thread, ToolCall

from apps.approvals.models.rules import RuleVersion

LONGEST = timedelta(days=30)


class DelegationQuerySet(QuerySet["Delegation"]):
    def now(self) -> DelegationQuerySet:
        return self.filter(starts_at__lte=Now(), ends_at__gt=Now(), revoked_at__isnull=True)


class Delegation(models.Model):
    """While somebody is away, another approver decides in their place. It makes nobody an approver who is none."""

    delegator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="delegations", verbose_name=_("away")
    )
    delegate = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("decides meanwhile")
    )
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"))
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    revoked_at = models.DateTimeField(_("ended early"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    objects = DelegationQuerySet.as_manager()

    class Meta:
        verbose_name = _("delegation")
        verbose_name_plural = _("delegations")
        ordering: ClassVar = ["-starts_at"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(delegator=F("delegate")), name="delegation_to_another"),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at"), ends_at__lte=F("starts_at") + LONGEST),
                name="delegation_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delegator} → {self.delegate}"

    def clean(self) -> None:
        if self.delegator_id and self.delegator_id == self.delegate_id:
            raise ValidationError({"delegate": _("Choose somebody else.")})
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValidationError({"ends_at": _("It ends before it starts.")})
        if self.starts_at and self.ends_at and self.ends_at > self.starts_at + LONGEST:
            raise ValidationError({"ends_at": _("At most 30 days; make another one later.")})


class GrantQuerySet(QuerySet["Grant"]):
    def standing(self) -> GrantQuerySet:
        return self.filter(revoked_at__isnull=True, ends_at__gt=Now(), used__lt=F("limit"))


class Grant(models.Model):
    """An approver's standing word: this tool with such arguments runs without asking, so often, until then."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tool = models.CharField(_("tool"), max_length=100)
    assistant = models.ForeignKey(Assistant, models.CASCADE, related_name="+", verbose_name=_("assistant"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("requester")
    )
    thread = models.ForeignKey(
        Thread, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("thread")
    )
    pattern = models.JSONField(_("arguments"), default=dict)
    """As apps.approvals.grants.Pattern."""
    version = models.ForeignKey(
        RuleVersion, models.PROTECT, related_name="+", verbose_name=_("policy version")
    )
    """What the rule said that asked: under another one the giver has allowed nothing."""
    limit = models.PositiveIntegerField(
        _("times"), validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    used = models.PositiveIntegerField(_("used"), default=0)
    ends_at = models.DateTimeField(_("until"))
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("granted by")
    )
    created_at = models.DateTimeField(_("granted"), db_default=Now(), editable=False)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("revoked by"),
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    objects = GrantQuerySet.as_manager()

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        ordering: ClassVar = ["-created_at"]
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [("revoke_grant", "Can revoke grants")]
        indexes: ClassVar = [models.Index(fields=["user", "tool"], name="grant_by_user_and_tool")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(used__lte=F("limit")), name="grant_used_within_limit")
        ]

    def __str__(self) -> str:
        return self.tool


class GrantUse(models.Model):
    """One call that ran by a grant."""

    grant = models.ForeignKey(Grant, models.PROTECT, related_name="uses", verbose_name=_("grant"))
    tool_call = models.OneToOneField(
        ToolCall, models.CASCADE, related_name="grant_use", verbose_name=_("tool call")
    )
    created_at = models.DateTimeField(_("used"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("use of a grant")
        verbose_name_plural = _("uses of grants")
        ordering: ClassVar = ["-created_at"]
        default_permissions: ClassVar = ["view"]

    def __str__(self) -> str:
        return str(self.tool_call)
