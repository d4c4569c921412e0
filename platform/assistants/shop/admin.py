"""The shop's orders, and the refunds that were paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from assistants.shop.models import Order, Refund

if TYPE_CHECKING:
    OrderModelAdmin = admin.ModelAdmin[Order]
    RefundModelAdmin = admin.ModelAdmin[Refund]
else:
    OrderModelAdmin = RefundModelAdmin = admin.ModelAdmin


@admin.register(Order)
class OrderAdmin(OrderModelAdmin):
    list_display = ("number", "customer", "status", "total", "refunded", "currency")
    list_filter = ("status", "currency")
    search_fields = ("number", "customer", "email")
    readonly_fields = ("refunded",)  # only a refund changes it

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # refunds hang on it


@admin.register(Refund)
class RefundAdmin(RefundModelAdmin):
    """What was paid stays as it was paid."""

    date_hierarchy = "created_at"
    list_display = ("created_at", "order", "amount", "reason")
    list_select_related = ("order",)
    search_fields = ("order__number", "order__customer", "reason", "key__exact")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
