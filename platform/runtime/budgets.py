"""Budgets in money: what a model call may cost at most is reserved before it, and settled by what it did cost.

A call that would overdraw any budget is not made. However many begin at once: each budget's spending is one row, and a
reservation is one conditional UPDATE of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from accounts.models import User
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from runtime import prices
from runtime.exceptions import BudgetUsedUp
from runtime.models import Budget, Period, Reservation, Run, RunStatus, Spending

RESERVE = """
UPDATE runtime_spending AS spending SET reserved = spending.reserved + %(amount)s
FROM runtime_budget AS budget
WHERE budget.id = spending.budget_id AND spending.id = ANY(%(ids)s)
    AND spending.spent + spending.reserved + %(amount)s <= budget.amount
"""

# Where the reservation is gone by now, all of it was charged: what it did cost takes the place of that.
SETTLE = """
WITH gone AS (DELETE FROM runtime_reservation WHERE call = %(call)s RETURNING spending_id)
UPDATE runtime_spending AS spending SET
    spent = spent + %(cost)s - CASE WHEN is_held THEN 0 ELSE %(amount)s END,
    reserved = reserved - CASE WHEN is_held THEN %(amount)s ELSE 0 END
FROM (SELECT pk, pk IN (SELECT spending_id FROM gone) AS is_held FROM unnest(%(ids)s) AS pk) AS held
WHERE spending.id = held.pk
"""

CHARGE = """
WITH gone AS (DELETE FROM runtime_reservation WHERE call = %(call)s RETURNING spending_id, amount)
UPDATE runtime_spending AS spending
SET spent = spent + gone.amount, reserved = reserved - gone.amount
FROM gone WHERE spending.id = gone.spending_id
"""


@dataclass(frozen=True)
class Held:
    """A reservation, in each budget that applies."""

    call: UUID
    spendings: list[int]
    amount: Decimal


class OthersHold(Exception):
    """There is enough left, but calls under way may yet need it."""


def begin_of(period: str, today: date | None = None) -> date:
    """The first day of the period that `today` is in, which is in the time zone of the installation."""
    today = today or timezone.localdate(timezone=timezone.get_default_timezone())
    return today if period == Period.DAY else today.replace(day=1)


def end_of(period: str) -> datetime:
    """When the next period begins."""
    first = begin_of(period)
    following = first + timedelta(days=1 if period == Period.DAY else 32)
    return datetime.combine(begin_of(period, following), time(), timezone.get_default_timezone())


def spendings_of(user_id: int) -> list[Spending]:
    """One for each budget that applies to this person, as of now; those that nothing was spent of are not saved."""
    in_groups = User.groups.through.objects.filter(user_id=user_id).values("group_id")
    own = Q(user=user_id) | Q(group__in=in_groups) | Q(user=None, group=None)
    budgets = Budget.objects.filter(own, is_active=True).select_related("group").order_by("pk")
    wanted = [
        Spending(budget=each, user_id=user_id if each.is_each else None, begins=begin_of(each.period))
        for each in budgets
    ]
    if not wanted:
        return []
    whose = Q(user=user_id) | Q(user=None)
    begun = {each.begins for each in wanted}
    rows = Spending.objects.filter(whose, budget__in=budgets, begins__in=begun)
    found = {(row.budget_id, row.user_id, row.begins): row for row in rows}
    for each in wanted:
        row = found.get((each.budget_id, each.user_id, each.begins))
        if row is not None:
            each.pk, each.spent, each.reserved = row.pk, row.spent, row.reserved
    return wanted


def check(user: User) -> None:
    """Raises BudgetUsedUp when not even the smallest turn could be paid for."""
    rates = prices.rates()
    if not rates.has_budgets:
        return
    price = rates.of(settings.OPENAI_MODEL)
    least = price.of(0, settings.MODEL_MAX_OUTPUT) if price else Decimal(0)
    for each in spendings_of(user.pk):
        if each.spent >= each.budget.amount or each.spent + least > each.budget.amount:
            raise used_up(each)


def reserve(run: Run, amount: Decimal) -> Held | None:
    """Holds `amount` in every budget that applies, or in none of them; None when none does.

    Raises BudgetUsedUp, or OthersHold when it may go better in a moment.
    """
    held = _saved(spendings_of(run.user_id))
    if not held:
        return None
    ids = [each.pk for each in held]
    call = uuid4()
    with transaction.atomic():
        _lock(ids)
        with connection.cursor() as cursor:
            cursor.execute(RESERVE, {"amount": amount, "ids": ids})
            if cursor.rowcount < len(ids):
                raise _why_not(ids, amount)
        Reservation.objects.bulk_create(
            Reservation(call=call, spending_id=pk, run=run, attempt=run.attempt, amount=amount) for pk in ids
        )
    return Held(call, ids, amount)


def _saved(wanted: list[Spending]) -> list[Spending]:
    """The same with a row each: whoever comes first in a period makes it."""
    if all(each.pk for each in wanted):
        return wanted
    Spending.objects.bulk_create([each for each in wanted if not each.pk], ignore_conflicts=True)
    return [
        Spending.objects.get(budget=each.budget_id, user=each.user_id, begins=each.begins) for each in wanted
    ]


def _lock(ids: list[int]) -> None:
    """In one order, whoever comes: two calls never wait for each other."""
    list(Spending.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk").values_list("pk"))


def _why_not(ids: list[int], amount: Decimal) -> Exception:
    for each in Spending.objects.filter(pk__in=ids).select_related("budget__group"):
        if each.spent + amount > each.budget.amount:
            return used_up(each)
    return OthersHold()


@transaction.atomic
def settle(held: Held, cost: Decimal) -> None:
    """It did cost that much, which may be more than was thought. Once for each reservation."""
    _lock(held.spendings)
    with connection.cursor() as cursor:
        cursor.execute(
            SETTLE, {"call": held.call, "cost": cost, "ids": held.spendings, "amount": held.amount}
        )


def charge_lost() -> int:
    """Charges all that is held for calls whose run has ended or is another attempt's; how many there were.

    What they did cost is not known: the endpoint may have gone on to the end.
    """
    alive = Run.objects.filter(pk=OuterRef("run"), status=RunStatus.RUNNING, attempt=OuterRef("attempt"))
    lost: dict[UUID, list[int]] = {}
    for call, spending in Reservation.objects.filter(~Exists(alive)).values_list("call", "spending"):
        lost.setdefault(call, []).append(spending)
    for call, ids in lost.items():
        _charge(call, ids)
    return len(lost)


@transaction.atomic
def _charge(call: UUID, ids: list[int]) -> None:
    _lock(ids)
    with connection.cursor() as cursor:
        cursor.execute(CHARGE, {"call": call})


# In words


def used_up(spending: Spending) -> BudgetUsedUp:
    budget = spending.budget
    again = end_of(budget.period)
    begins = date_format(timezone.localtime(again, timezone.get_default_timezone()), "DATETIME_FORMAT")
    texts = {"group": budget.group.name if budget.group else "", "begins": begins}
    return BudgetUsedUp(_sentence(budget) % texts, until=again)


def _sentence(budget: Budget) -> str:
    is_day = budget.period == Period.DAY
    if budget.user_id or budget.is_each:
        if is_day:
            return _("Your budget for today is used up. It starts anew on %(begins)s.")
        return _("Your budget for this month is used up. It starts anew on %(begins)s.")
    if budget.group_id:
        if is_day:
            return _("The budget of “%(group)s” for today is used up. It starts anew on %(begins)s.")
        return _("The budget of “%(group)s” for this month is used up. It starts anew on %(begins)s.")
    if is_day:
        return _("The budget of everybody for today is used up. It starts anew on %(begins)s.")
    return _("The budget of everybody for this month is used up. It starts anew on %(begins)s.")


def money(amount: Decimal) -> str:
    """With its currency, to the cent; small sums to what can be seen of them."""
    places = 2 if not amount or abs(amount) >= Decimal("0.01") else 6
    return f"{number_format(amount, decimal_pos=places)} {settings.CURRENCY}"
