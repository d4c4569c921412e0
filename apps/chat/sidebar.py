"""The list of a person's threads, and what they may still spend."""

from __future__ import annotations

from decimal import Decimal

from accounts.models import User
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from runtime import budgets, prices
from runtime.models import ACTIVE, Period, RunStatus, Spending, Thread

PAGE_SIZE = 40


def threads_of(user: User) -> QuerySet[Thread]:
    return Thread.objects.with_status().of(user).select_related("assistant").order_by("-updated_at")


def page_of_threads(user: User, number: str | int | None = 1) -> Page[Thread]:
    """A page of the list, newest first; the nearest one when there is no such page."""
    return Paginator(threads_of(user), PAGE_SIZE).get_page(number)


def budgets_left(user: User) -> list[str]:
    """What may still be spent, a sentence for each budget; none where nobody set one."""
    if not prices.rates().has_budgets:
        return []
    return [_left_of(each) for each in budgets.spendings_of(user.pk)]


def _left_of(spending: Spending) -> str:
    budget = spending.budget
    left = max(budget.amount - spending.spent, Decimal(0))
    texts = {
        "left": budgets.money(left),
        "amount": budgets.money(budget.amount),
        "whose": _("Your budget") if budget.user_id or budget.is_each else budget.whose,
    }
    if budget.period == Period.DAY:
        return _("%(whose)s, today: %(left)s of %(amount)s left") % texts
    return _("%(whose)s, this month: %(left)s of %(amount)s left") % texts


def status_of(thread: Thread) -> str:
    """What the dot says: waiting, running, failed or idle. For threads out of `with_status()`."""
    if getattr(thread, "is_waiting", False):
        return "waiting"
    status = getattr(thread, "last_run_status", None)
    if status in ACTIVE:
        return "running"
    return "failed" if status in (RunStatus.ERROR, RunStatus.TIMEOUT) else "idle"
