"""A change of the policy that waits for a second person, and what became of it."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from apps.approvals.models.rules import PolicyRule


class RuleChange(models.Model):
    """What somebody wants a rule to say. It takes effect when somebody else countersigns it."""

    class Kind(models.TextChoices):
        """Also the beginning of the permission that is needed for it."""

        ADD = "add", _("a new rule")
        CHANGE = "change", _("a change")
        DELETE = "delete", _("the end of a rule")

    class Status(models.TextChoices):
        PROPOSED = "proposed", _("waits for a second person")
        COUNTERSIGNED = "countersigned", _("countersigned")
        DECLINED = "declined", _("declined")

    kind = models.CharField(_("what"), max_length=6, choices=Kind.choices)
    rule = models.ForeignKey(
        PolicyRule, models.SET_NULL, null=True, related_name="proposed_changes", verbose_name=_("rule")
    )
    name = models.CharField(_("name"), max_length=100)
    before = models.JSONField(_("before"), null=True)
    """What the rule said as it was proposed, as four_eyes.whole() gives it. Null: there was none."""
    after = models.JSONField(_("after"), null=True)
    """Null: the rule goes."""
    status = models.CharField(_("status"), max_length=13, choices=Status.choices, default=Status.PROPOSED)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("proposed by")
    )
    proposed_at = models.DateTimeField(_("proposed"), db_default=Now(), editable=False)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("settled by"),
    )
    settled_at = models.DateTimeField(_("settled"), null=True)
    reason = models.TextField(_("reason"), blank=True)

    class Meta:
        verbose_name = _("proposed change of the policy")
        verbose_name_plural = _("proposed changes of the policy")
        ordering: ClassVar = ["-proposed_at"]
        default_permissions: ClassVar = []
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["rule"], condition=Q(status="proposed"), name="rule_change_one_at_a_time"
            ),
            # Four eyes: whoever writes it, and by whatever door.
            models.CheckConstraint(
                condition=~Q(status="countersigned")
                | Q(settled_by__isnull=False) & ~Q(settled_by=F("proposed_by")),
                name="rule_change_by_two",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.get_kind_display()}"
