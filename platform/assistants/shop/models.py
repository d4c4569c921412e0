"""The orders of a small shop: real rows, so that a refund has a real effect."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class RefundRefused(ValueError):
    """The order can't be refunded by that much."""


class Order(models.Model):
    """What a customer bought."""

    number = models.PositiveIntegerField(_("number"), unique=True)
    customer = models.CharField(_("customer"), max_length=100)
    email = models.EmailField(_("e-mail"))
    status = models.CharField(_("status"), max_length=20, default="delivered")
    items = models.JSONField(_("items"), default=list, blank=True)
    total = models.DecimalField(_("total"), max_digits=10, decimal_places=2)
    refunded = models.DecimalField(_("refunded"), max_digits=10, decimal_places=2, default=Decimal("0.00"))
    currency = models.CharField(_("currency"), max_length=3, default="EUR")
    group = models.ForeignKey(
        "auth.Group",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("group"),
        help_text=_("Only its members may have it looked up or refunded. Empty: everybody."),
    )

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(refunded__gte=0) & Q(refunded__lte=F("total")), name="order_refunded_within_total"
            )
        ]

    def __str__(self) -> str:
        return f"{self.number}"

    @transaction.atomic
    def refund(self, amount: Decimal, *, reason: str, key: str) -> Refund:
        """Pays `amount` back, once for each `key`: a repeated key returns the first refund. Raises RefundRefused."""
        order = Order.objects.select_for_update().get(pk=self.pk)
        done = Refund.objects.filter(key=key).first()
        if done:
            return done
        left = order.total - order.refunded
        if amount <= 0 or amount > left:
            raise RefundRefused(
                f"Order {order.number} can be refunded by at most {left} {order.currency}; {amount} was asked for."
            )
        Order.objects.filter(pk=order.pk).update(refunded=F("refunded") + amount)
        return Refund.objects.create(order=order, amount=amount, reason=reason, key=key)


class Refund(models.Model):
    """Money paid back."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="refunds", verbose_name=_("order"))
    amount = models.DecimalField(_("amount"), max_digits=10, decimal_places=2)
    reason = models.TextField(_("reason"), blank=True)
    key = models.CharField(_("idempotency key"), max_length=64, unique=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.amount} {self.order.currency}"
