"""The policy: rules an administrator edits while it runs, and what each of them said when it was used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import JSONObject, Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.approvals.meaning import sentences

YEAR = 60 * 24 * 366  # minutes
_minutes = [MinValueValidator(1), MaxValueValidator(YEAR)]


class DecisionKind(models.TextChoices):
    APPROVE = "approve", _("approve")
    EDIT = "edit", _("approve with changes")
    RESPOND = "respond", _("answer in the tool's place")
    REJECT = "reject", _("reject")


class Risk(models.IntegerChoices):
    LOW = 1, _("low")
    NORMAL = 2, _("normal")
    HIGH = 3, _("high")


def every_decision() -> list[str]:
    return list(DecisionKind.values)


class PolicyRuleQuerySet(QuerySet["PolicyRule"]):
    def whole(self) -> PolicyRuleQuerySet:
        """With conditions, bounds and people in the same round trip: calls wait for them."""
        row = {"argument": "argument", "operator": "operator", "value": "value"}
        of_rule = {"rule": OuterRef("pk")}
        people = PolicyRule.people.through.objects.filter(policyrule=OuterRef("pk"))
        return self.annotate(
            held_conditions=ArraySubquery(
                Condition.objects.filter(**of_rule).order_by("pk").values(row=JSONObject(**row))
            ),
            held_bounds=ArraySubquery(
                EditBound.objects.filter(**of_rule).order_by("pk").values(row=JSONObject(**row))
            ),
            held_people=ArraySubquery(people.order_by("user").values("user")),
        )


class PolicyRule(models.Model):
    """One line of the policy: which calls it is about, and what becomes of them.

    Any matching deny wins; else the first match by priority. No match: allowed when not sensitive, else denied.
    """

    class Verdict(models.TextChoices):
        ALLOW = "allow", _("allow")
        ASK = "ask", _("ask a person")
        DENY = "deny", _("deny")

    class OnExpiry(models.TextChoices):
        REJECT = "reject", _("it does not run")
        ESCALATE = "escalate", _("another group is asked")

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
    risk = models.PositiveSmallIntegerField(_("risk"), choices=Risk.choices, default=Risk.NORMAL)
    approvers = models.ForeignKey(
        Group, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("approvers")
    )
    people = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+", verbose_name=_("and these people")
    )
    quorum = models.PositiveSmallIntegerField(
        _("approvals needed"), default=1, validators=[MinValueValidator(1), MaxValueValidator(20)]
    )
    requester_confirms = models.BooleanField(_("the requester may confirm alone"), default=False)
    decisions = ArrayField(
        models.CharField(max_length=10, choices=DecisionKind.choices),
        verbose_name=_("decisions"),
        default=every_decision,
    )
    needs_reason = models.BooleanField(_("approving needs a reason"), default=False)
    may_be_granted = models.BooleanField(_("may be allowed for a while"), default=True)
    expires_after = models.PositiveIntegerField(
        _("expires after (minutes)"), null=True, blank=True, validators=_minutes
    )
    remind_after = models.PositiveIntegerField(
        _("remind after (minutes)"), null=True, blank=True, validators=_minutes
    )
    on_expiry = models.CharField(
        _("when it expires"), max_length=8, choices=OnExpiry.choices, default=OnExpiry.REJECT
    )
    escalate_to = models.ForeignKey(
        Group, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("group to ask then")
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = PolicyRuleQuerySet.as_manager()

    class Meta:
        verbose_name = _("policy rule")
        verbose_name_plural = _("policy rules")
        ordering: ClassVar = ["priority", "name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=~Q(on_expiry="escalate")
                | Q(escalate_to__isnull=False, expires_after__isnull=False),
                name="rule_escalation_is_whole",
            ),
            models.CheckConstraint(condition=Q(quorum__gte=1), name="rule_quorum_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        problems: dict[str, Any] = {}
        if self.on_expiry == self.OnExpiry.ESCALATE and self.escalate_to is None:
            problems["escalate_to"] = _("Say which group is asked then.")
        if self.on_expiry == self.OnExpiry.ESCALATE and self.expires_after is None:
            problems["expires_after"] = _("Say after how long another group is asked.")
        if self.remind_after and self.expires_after and self.remind_after >= self.expires_after:
            problems["remind_after"] = _("Remind before it expires.")
        if self.requester_confirms and self.quorum > 1:
            problems["quorum"] = _("Who confirms alone is one person: needed is 1.")
        if problems:
            raise ValidationError(problems)

    def content(self) -> dict[str, Any]:
        """All that a call is judged by and a decision is bound to, as JSON. Reads conditions, bounds and people."""
        return {
            "verdict": self.verdict,
            "assistant": self.assistant,
            "tool": self.tool,
            "conditions": sorted(row.as_list() for row in self.all_conditions()),
            "approvers": self.approvers_id,
            "people": sorted(str(pk) for pk in self._people_keys()),
            "quorum": self.quorum,
            "requester_confirms": self.requester_confirms,
            "decisions": sorted(self.decisions),
            "bounds": sorted(row.as_list() for row in self._all_bounds()),
            "needs_reason": self.needs_reason,
            "may_be_granted": self.may_be_granted,
            "expires_after": self.expires_after,
            "remind_after": self.remind_after,
            "on_expiry": self.on_expiry,
            "escalate_to": self.escalate_to_id,
            "risk": self.risk,
        }

    def all_conditions(self) -> list[Condition]:
        held = getattr(self, "held_conditions", None)
        return list(self.conditions.all()) if held is None else [Condition(**row) for row in held]

    def _all_bounds(self) -> list[EditBound]:
        held = getattr(self, "held_bounds", None)
        return list(self.bounds.all()) if held is None else [EditBound(**row) for row in held]

    def _people_keys(self) -> list[int]:
        held: list[int] | None = getattr(self, "held_people", None)
        return [person.pk for person in self.people.all()] if held is None else held

    def digest(self) -> str:
        return sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()

    def version(self) -> RuleVersion:
        """What the rule says now. Made when it is used, so that no door by which a rule changes can forget it."""
        digest = self.digest()
        known = RuleVersion.objects.filter(rule=self, digest=digest).first()
        if known is not None:
            return known
        made = {"number": self.versions.count() + 1, "name": self.name, "content": self.content()}
        return RuleVersion.objects.get_or_create(rule=self, digest=digest, defaults=made)[0]

    def after(self, minutes: int | None) -> Combinable | None:
        """An expression: that many minutes from now; None for never."""
        return None if minutes is None else Now() + timedelta(minutes=minutes)

    @property
    def meaning(self) -> str:
        """The rule in sentences."""
        conditions, bounds, people = self.rows()
        return sentences(self, conditions=conditions, bounds=bounds, people=people)

    def rows(self) -> tuple[Sequence[Condition], Sequence[EditBound], Sequence[Any]]:
        """Conditions, bounds and people; none yet of a rule that is not saved."""
        if self._state.adding:
            return [], [], []
        return list(self.conditions.all()), list(self.bounds.all()), list(self.people.all())

    @staticmethod
    def decision_choices() -> list[tuple[str, Any]]:
        return list(DecisionKind.choices)


class RuleVersion(models.Model):
    """What a rule said while it was used: a decision is bound to it. Never changed, never deleted with its rule."""

    rule = models.ForeignKey(
        PolicyRule, models.SET_NULL, null=True, related_name="versions", verbose_name=_("rule")
    )
    number = models.PositiveIntegerField(_("version"))
    name = models.CharField(_("name"), max_length=100)
    digest = models.CharField(max_length=64)
    """SHA-256 of `content` as sorted JSON."""
    content = models.JSONField(_("content"))
    """As PolicyRule.content() gives it."""
    created_at = models.DateTimeField(_("first used"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("rule version")
        verbose_name_plural = _("rule versions")
        ordering: ClassVar = ["-created_at"]
        default_permissions: ClassVar = ["view"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["rule", "digest"], name="rule_version_once")]

    def __str__(self) -> str:
        return gettext("%(rule)s, version %(number)s") % {"rule": self.name, "number": self.number}

    @property
    def is_current(self) -> bool:
        """The rule still says this, and is in use."""
        return self.rule is not None and self.rule.is_enabled and self.rule.digest() == self.digest

    @property
    def bounds(self) -> list[tuple[str, str, str]]:
        """(argument, operator, value) an edited call must keep to; empty when any argument may be edited."""
        return [(row[0], row[1], row[2]) for row in self.content["bounds"]]


class Operator(models.TextChoices):
    """How an argument is compared. What can't be compared counts as the riskier answer."""

    EQUALS = "is", _("is")
    DIFFERS = "is not", _("is not")
    MORE = "more than", _("is more than")
    AT_MOST = "at most", _("is at most")
    LESS = "less than", _("is less than")
    AT_LEAST = "at least", _("is at least")
    ONE_OF = "one of", _("is one of (separated by commas)")
    NONE_OF = "none of", _("is none of (separated by commas)")
    BEGINS = "begins with", _("begins with")
    ENDS = "ends with", _("ends with")
    NOT_ENDS = "does not end with", _("does not end with")
    CONTAINS = "contains", _("contains")
    LONGER = "longer than", _("is longer than (characters)")
    GIVEN = "given", _("is given")
    MISSING = "missing", _("is not given")


class Comparison(models.Model):
    """One row of a form: an argument, an operator and what it is held against."""

    argument = models.CharField(_("argument"), max_length=200)
    operator = models.CharField(_("operator"), max_length=20, choices=Operator.choices)
    value = models.CharField(_("value"), max_length=500, blank=True)

    class Meta:
        abstract = True
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.argument} {self.get_operator_display()} {self.value}".rstrip()

    def as_list(self) -> list[str]:
        return [self.argument, self.operator, self.value]


class Condition(Comparison):
    """The rule is about a call only if all of its conditions hold."""

    rule = models.ForeignKey(PolicyRule, models.CASCADE, related_name="conditions")

    class Meta(Comparison.Meta):
        abstract = False
        verbose_name = _("condition")
        verbose_name_plural = _("conditions: all of them must hold")


class EditBound(Comparison):
    """What an approver may change: with any bound given, only those arguments, and only so far."""

    rule = models.ForeignKey(PolicyRule, models.CASCADE, related_name="bounds")

    class Meta(Comparison.Meta):
        abstract = False
        verbose_name = _("bound of editing")
        verbose_name_plural = _("bounds of editing: with any, only these arguments may be changed")
