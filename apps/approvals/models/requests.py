"""What was asked of the approvers, and what each of them said."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from runtime.models import ToolCall
from runtime.postgresql.returning import update_one

from apps.approvals.models.rules import DecisionKind, PolicyRule, Risk, RuleVersion


class RequestStatus(models.TextChoices):
    PENDING = "pending", _("waiting")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    RESPONDED = "responded", _("answered")
    EXPIRED = "expired", _("expired")
    CANCELLED = "cancelled", _("withdrawn")
    SUPERSEDED = "superseded", _("superseded")


URGENCY = ("-risk", "expires_at", "created_at", "pk")
"""The order of what waits: risk, then what expires first (what never does comes last), then age."""


class Way(models.TextChoices):
    """By what right a decision was made."""

    RULE = "rule", _("the rule")
    DELEGATE = "delegate", _("delegation")
    CONFIRM = "confirm", _("confirmed by the requester")
    BREAK_GLASS = "break_glass", _("break-glass")


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
    version = models.ForeignKey(
        RuleVersion, models.PROTECT, null=True, related_name="+", verbose_name=_("policy version")
    )
    """What the rule said when it was asked: a decision is bound to that. Null: no rule asks for this."""
    approvers = models.ForeignKey(Group, models.SET_NULL, null=True, verbose_name=_("approvers"))
    """Who is asked now: the rule's group, or the one it was escalated to."""
    risk = models.PositiveSmallIntegerField(_("risk"), choices=Risk.choices, default=Risk.NORMAL)
    quorum = models.PositiveSmallIntegerField(_("approvals needed"), default=1)
    escalated_at = models.DateTimeField(_("escalated"), null=True, blank=True)
    remind_at = models.DateTimeField(_("reminder due"), null=True, blank=True)
    """Null: none is due, or it was given."""
    stranded_at = models.DateTimeField(_("nobody could decide since"), null=True, blank=True)
    """Null: somebody can, or nobody has looked yet."""
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
    via = models.CharField(_("by way of"), max_length=12, choices=Way.choices, default=Way.RULE)
    reason = models.TextField(_("reason"), blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    created_at = models.DateTimeField(_("asked"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("approval request")
        verbose_name_plural = _("approval requests")
        ordering: ClassVar = ["created_at"]
        default_permissions: ClassVar = ["view"]
        permissions: ClassVar = [
            ("decide", "Can decide on tool calls"),
            ("break_glass", "Can override who decides, with a reason"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "created_at"], name="request_by_status"),
            models.Index(fields=["expires_at"], name="request_by_expiry", condition=Q(status="pending")),
            models.Index(fields=["remind_at"], name="request_by_reminder", condition=Q(status="pending")),
            models.Index(
                fields=["stranded_at"], name="request_stranded", condition=Q(stranded_at__isnull=False)
            ),
            models.Index(
                fields=[*URGENCY[:3], "id"], name="request_by_urgency", condition=Q(status="pending")
            ),
            models.Index(
                F("decided_at").desc(nulls_last=True),
                name="request_by_decision",
                condition=~Q(status="pending"),
            ),
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
        pending = ApprovalRequest.objects.filter(status=RequestStatus.PENDING)
        if in_time:
            pending = pending.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))
        return update_one(pending, self, status=status, decided_at=Now(), **fields)

    def is_overdue(self) -> bool:
        """By the database's clock; whoever decides now is late."""
        return ApprovalRequest.objects.filter(pk=self.pk, expires_at__lte=Now()).exists()

    @property
    def approvals(self) -> QuerySet[Vote]:
        """The votes that count towards the quorum: of those who are asked now, for the arguments as they are."""
        cast = self.votes.filter(_COUNTS, args_digest=self.tool_call.args_digest)
        return cast.filter(created_at__gt=self.escalated_at) if self.escalated_at else cast

    def counts(self, vote: Vote) -> bool:
        """The same of a vote that is at hand: lists have fetched theirs."""
        is_since = self.escalated_at is None or vote.created_at > self.escalated_at
        is_approval = vote.verdict in (DecisionKind.APPROVE, DecisionKind.EDIT)
        return is_since and is_approval and vote.args_digest == self.tool_call.args_digest


_COUNTS = Q(verdict__in=("approve", "edit"))


class Vote(models.Model):
    """One person's part of a decision."""

    request = models.ForeignKey(
        ApprovalRequest, models.CASCADE, related_name="votes", verbose_name=_("approval request")
    )
    voter = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("person")
    )
    principal = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("in place of")
    )
    """Whose right it was: the voter's own, or that of who delegated it."""
    verdict = models.CharField(_("decision"), max_length=10, choices=DecisionKind.choices)
    via = models.CharField(_("by way of"), max_length=12, choices=Way.choices, default=Way.RULE)
    args_digest = models.CharField(max_length=64)
    reason = models.TextField(_("reason"), blank=True)
    created_at = models.DateTimeField(_("when"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("vote")
        verbose_name_plural = _("votes")
        ordering: ClassVar = ["created_at", "pk"]
        default_permissions: ClassVar = ["view"]
        constraints: ClassVar = [
            # Nobody counts twice for the same arguments, neither in person nor through a delegate.
            models.UniqueConstraint(
                fields=["request", "voter", "args_digest"], condition=_COUNTS, name="vote_once_a_person"
            ),
            models.UniqueConstraint(
                fields=["request", "principal", "args_digest"], condition=_COUNTS, name="vote_once_a_right"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.voter}: {self.get_verdict_display()}"


class Comment(models.Model):
    """What approvers tell one another about a request. The assistant and the requester don't see it."""

    request = models.ForeignKey(
        ApprovalRequest, models.CASCADE, related_name="comments", verbose_name=_("approval request")
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("person")
    )
    text = models.TextField(_("comment"), max_length=2000)
    created_at = models.DateTimeField(_("when"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("comment")
        verbose_name_plural = _("comments")
        ordering: ClassVar = ["created_at", "pk"]
        default_permissions: ClassVar = ["view"]

    def __str__(self) -> str:
        return self.text[:60]
