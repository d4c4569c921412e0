"""Where operators keep budgets and prices, and see what was spent."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from accounts.models import User
from django.contrib import admin
from django.db.models import DecimalField, Q, QuerySet, Sum
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from runtime import budgets
from runtime.models import Budget, ModelPrice, Period, Spending

from apps.observability.read_only import ReadOnlyAdmin

if TYPE_CHECKING:
    BudgetModelAdmin = admin.ModelAdmin[Budget]
    PriceModelAdmin = admin.ModelAdmin[ModelPrice]
else:
    BudgetModelAdmin = PriceModelAdmin = admin.ModelAdmin


def _of_this_period() -> Q:
    day, month = (Q(period=each, spendings__begins=budgets.begin_of(each)) for each in Period.values)
    return day | month


@admin.register(Budget)
class BudgetAdmin(BudgetModelAdmin):
    """One line a budget, with what is spent of it in this period."""

    list_display = ("whose", "is_each", "period", "amount_shown", "spent_now", "reserved_now", "is_active")
    list_display_links = ("whose",)
    list_filter = ("period", "is_active")
    list_select_related = ("user", "group")
    search_fields = ("user__username", "group__name")
    search_help_text = _("Person or group")
    fields = ("user", "group", "is_each", "period", "amount", "is_active")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        now = _of_this_period()
        whole: Any = DecimalField(max_digits=24, decimal_places=12)
        return (
            super()
            .get_queryset(request)
            .annotate(
                spent_sum=Sum("spendings__spent", filter=now, default=Decimal(0), output_field=whole),
                reserved_sum=Sum("spendings__reserved", filter=now, default=Decimal(0), output_field=whole),
            )
        )

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name == "user":
            kwargs["queryset"] = User.objects.filter(is_active=True).order_by("username")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @admin.display(description=_("whose"), ordering="user__username")
    def whose(self, budget: Budget) -> str:
        return budget.whose

    @admin.display(description=_("amount"), ordering="amount")
    def amount_shown(self, budget: Budget) -> str:
        return budgets.money(budget.amount)

    @admin.display(description=_("spent in this period"), ordering="spent_sum")
    def spent_now(self, budget: Any) -> str:
        return budgets.money(budget.spent_sum)

    @admin.display(description=_("held by calls under way"), ordering="reserved_sum")
    def reserved_now(self, budget: Any) -> str:
        return budgets.money(budget.reserved_sum)


@admin.register(ModelPrice)
class ModelPriceAdmin(PriceModelAdmin):
    list_display = ("model", "input", "cached_input", "output", "updated_at")
    search_fields = ("model",)


@admin.register(Spending)
class SpendingAdmin(ReadOnlyAdmin):
    """Every day and month of every budget, for as long as the budget is there."""

    date_hierarchy = "begins"
    list_display = ("begins", "budget", "user", "spent_shown", "reserved_shown")
    list_filter = ("begins", ("budget", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("budget__user", "budget__group", "user")
    search_fields = ("user__username", "budget__user__username", "budget__group__name")
    search_help_text = _("Person or group")
    fields = ("budget", "user", "begins", "spent_shown", "reserved_shown")

    @admin.display(description=_("spent"), ordering="spent")
    def spent_shown(self, spending: Spending) -> str:
        return budgets.money(spending.spent)

    @admin.display(description=_("reserved"), ordering="reserved")
    def reserved_shown(self, spending: Spending) -> str:
        return budgets.money(spending.reserved)
