"""Who has to countersign what, and what was asked of them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from runtime.models import ToolCall


class PolicyRule(models.Model):
    """One line of the policy: which calls it is about, and what becomes of them.

    Any matching deny wins; else the first match by priority. No match: allowed when not sensitive, else denied.
    """

    class Verdict(models.TextChoices):
        ALLOW = "allow", _("allow")
        ASK = "ask", _("ask a person")
        DENY = "deny", _("deny")

    name = models.CharField(_("name"), max_length=100, unique=True)
    priority = models.PositiveIntegerField(
        _("priority"), default=100, help_text=_("The lowest number is tried first.")
    )
    assistant = models.CharField(
        _("assistant"), max_length=100, default="*", help_text=_("Graph id; * matches anything.")
    )
    tool = models.CharField(
        _("tool"), max_length=100, default="*", help_text=_("Name of the tool; * matches anything.")
    )
    verdict = models.CharField(_("verdict"), max_length=5, choices=Verdict.choices)
    approvers = models.ForeignKey(
        Group,
        models.PROTECT,
        null=True,
        blank=True,
        verbose_name=_("approvers"),
        help_text=_("The group whose members decide."),
    )
    expires_after = models.PositiveIntegerField(
        _("expires after (minutes)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(60 * 24 * 366)],
        help_text=_("A call that nobody has decided on by then does not run. Empty: it waits for ever."),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("policy rule")
        verbose_name_plural = _("policy rules")
        ordering: ClassVar = ["priority", "name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(verdict="ask") | Q(approvers__isnull=False), name="rule_ask_names_approvers"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def deadline(self) -> Combinable | None:
        """An expression: when a request made now expires; None when it does not."""
        return None if self.expires_after is None else Now() + timedelta(minutes=self.expires_after)

    def clean(self) -> None:
        if self.verdict == self.Verdict.ASK and self.approvers is None:
            raise ValidationError({"approvers": _("Say which group decides.")})

    @property
    def meaning(self) -> str:
        """The rule as a sentence."""
        words: dict[str, object] = {
            "tool": gettext("any tool") if self.tool == "*" else self.tool,
            "assistant": gettext("any assistant") if self.assistant == "*" else self.assistant,
            "group": self.approvers,
        }
        if not self.is_enabled:
            return gettext("switched off; it changes nothing.")
        match self.verdict:
            case self.Verdict.ALLOW:
                return gettext("%(tool)s of %(assistant)s runs without asking anybody.") % words
            case self.Verdict.ASK if self.expires_after:
                words["minutes"] = self.expires_after
                return (
                    gettext(
                        "%(tool)s of %(assistant)s waits until %(group)s decide, at most %(minutes)s minutes."
                    )
                    % words
                )
            case self.Verdict.ASK:
                return gettext("%(tool)s of %(assistant)s waits until %(group)s decide.") % words
            case _:
                return gettext("%(tool)s of %(assistant)s is always refused.") % words


class RequestStatus(models.TextChoices):
    PENDING = "pending", _("waiting")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    RESPONDED = "responded", _("answered")
    EXPIRED = "expired", _("expired")
    CANCELLED = "cancelled", _("withdrawn")
    SUPERSEDED = "superseded", _("superseded")


class ApprovalRequest(models.Model):
    """What is asked of the approvers about one tool call."""

    class Question(models.TextChoices):
        PERMISSION = "permission", _("May it run?")
        OUTCOME = "outcome", _("It was cut off in the middle. What became of it?")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tool_call = models.ForeignKey(
        ToolCall, models.CASCADE, related_name="approval_requests", verbose_name=_("tool call")
    )
    question = models.CharField(_("question"), max_length=10, choices=Question.choices)
    rule = models.ForeignKey(PolicyRule, models.SET_NULL, null=True, verbose_name=_("rule"))
    approvers = models.ForeignKey(Group, models.SET_NULL, null=True, verbose_name=_("approvers"))
    """Null: nobody but a superuser may decide, because the group is gone."""
    status = models.CharField(
        _("status"), max_length=10, choices=RequestStatus.choices, default=RequestStatus.PENDING
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    created_at = models.DateTimeField(_("asked"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("approval request")
        verbose_name_plural = _("approval requests")
        ordering: ClassVar = ["created_at"]
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [("decide", "Can decide on tool calls")]
        indexes: ClassVar = [
            models.Index(fields=["status", "created_at"], name="request_by_status"),
            models.Index(fields=["expires_at"], name="request_by_expiry", condition=Q(status="pending")),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tool_call"], condition=Q(status="pending"), name="request_one_pending_per_call"
            ),
            models.CheckConstraint(condition=Q(status__in=RequestStatus.values), name="request_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.tool_call.tool}"

    @property
    def is_pending(self) -> bool:
        return self.status == RequestStatus.PENDING

    def close(self, status: str, *, in_time: bool = True, **fields: Any) -> bool:
        """Pending becomes `status`; False when somebody was faster or, with `in_time`, when it has expired."""
        pending = ApprovalRequest.objects.filter(pk=self.pk, status=RequestStatus.PENDING)
        if in_time:
            pending = pending.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))
        if not pending.update(status=status, decided_at=Now(), **fields):
            return False
        self.refresh_from_db()
        return True
