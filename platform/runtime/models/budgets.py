"""What models cost, how much of it may be spent, and how much was."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from runtime.models.runs import Run

NOTHING = Decimal(0)


def _sum(label: Any) -> Any:
    """Twelve places: what a token costs is kept exactly."""
    return models.DecimalField(label, max_digits=24, decimal_places=12, default=NOTHING)


def _price(label: Any) -> Any:
    return models.DecimalField(
        label, max_digits=12, decimal_places=6, validators=[MinValueValidator(NOTHING)]
    )


class ModelPrice(models.Model):
    """What a model costs for a million tokens; in place of what the setting COUNTERSIGN_MODEL_PRICES says of it."""

    model = models.CharField(_("model"), max_length=200, unique=True)
    input = _price(_("a million input tokens"))
    cached_input = _price(_("a million cached input tokens"))
    output = _price(_("a million output tokens"))
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("price of a model")
        verbose_name_plural = _("prices of models")
        ordering: ClassVar = ["model"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(input__gte=0, cached_input__gte=0, output__gte=0), name="model_price_not_negative"
            )
        ]

    def __str__(self) -> str:
        return self.model


class Period(models.TextChoices):
    DAY = "day", _("day")
    MONTH = "month", _("month")


class Budget(models.Model):
    """What may be spent on model calls in each day or month: by a person, by a group, or by everybody."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("person"),
        help_text=_("Leave person and group empty for a budget of everybody."),
    )
    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("group")
    )
    is_each = models.BooleanField(
        _("for each person"),
        default=False,
        help_text=_("Each of them may spend this much. Otherwise all of them together."),
    )
    period = models.CharField(_("period"), max_length=5, choices=Period.choices, default=Period.DAY)
    amount = models.DecimalField(
        _("amount"), max_digits=14, decimal_places=4, validators=[MinValueValidator(NOTHING)]
    )
    is_active = models.BooleanField(_("in force"), default=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(user__isnull=True) | Q(group__isnull=True, is_each=False),
                name="budget_of_one_kind",
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="budget_not_negative"),
            models.CheckConstraint(condition=Q(period__in=Period.values), name="budget_period_known"),
        ]

    def __str__(self) -> str:
        return f"{self.whose}, {self.get_period_display()}"

    @property
    def whose(self) -> str:
        return str(self.user or self.group or _("everybody"))

    def clean(self) -> None:
        if self.user_id and (self.group_id or self.is_each):
            raise ValidationError(_("A budget of a person has no group, and is for that one person."))


class Spending(models.Model):
    """What of a budget is spent in one period: of all who share it, or of one person where it is for each."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="spendings", verbose_name=_("budget"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        related_name="+",
        verbose_name=_("person"),
    )
    begins = models.DateField(_("begins"))
    """The first day of the period, in the time zone of the installation."""
    spent = _sum(_("spent"))
    reserved = _sum(_("reserved"))
    """At most so much more will come of the model calls under way."""

    class Meta:
        verbose_name = _("spending")
        verbose_name_plural = _("spendings")
        ordering: ClassVar = ["-begins", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["budget", "begins"], condition=Q(user__isnull=True), name="spending_once"
            ),
            models.UniqueConstraint(
                fields=["budget", "user", "begins"],
                condition=Q(user__isnull=False),
                name="spending_once_each",
            ),
            models.CheckConstraint(condition=Q(spent__gte=0, reserved__gte=0), name="spending_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.spent:f}"


class Reservation(models.Model):
    """The worst that one model call under way can cost, held in one spending until it is known what it did cost."""

    call = models.UUIDField(default=uuid.uuid4, editable=False)
    spending = models.ForeignKey(Spending, models.CASCADE, related_name="reservations")
    # Outlives its run: what is held for one that is gone has to be found.
    run = models.ForeignKey(
        Run, models.DO_NOTHING, related_name="+", db_constraint=False, verbose_name=_("run")
    )
    attempt = models.PositiveIntegerField(_("attempt"))
    amount = _sum(_("amount"))
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("reservation")
        verbose_name_plural = _("reservations")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["call", "spending"], name="reservation_once"),
        ]

    def __str__(self) -> str:
        return f"{self.amount:f}"
