"""The pages of budgets and prices: operators keep them, auditors read them, nobody else comes in."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from accounts.models import User
from django.test import Client
from runtime import budgets
from runtime.models import AuditEvent, Budget, ModelPrice, Spending

pytestmark = pytest.mark.django_db

SignIn = Callable[[User], Client]
PAGES = ["budget/", "budget/add/", "modelprice/", "modelprice/add/", "spending/"]


@pytest.mark.parametrize("page", PAGES)
def test_it_lets_no_stranger_in(page: str, signed_in: SignIn, carol: User, bob: User) -> None:
    for stranger, status in [(Client(), 302), (signed_in(carol), 302), (signed_in(bob), 403)]:
        assert stranger.get(f"/admin/runtime/{page}").status_code == status


def test_an_operator_sets_a_budget_and_it_is_audited(signed_in: SignIn, operator: User, alice: User) -> None:
    form = {"user": alice.pk, "group": "", "period": "month", "amount": "12.50", "is_active": "on"}

    answer = signed_in(operator).post("/admin/runtime/budget/add/", form)

    assert answer.status_code == 302
    budget = Budget.objects.get()
    assert (budget.user, budget.period, budget.amount) == (alice, "month", Decimal("12.50"))
    assert AuditEvent.objects.get(action="budget.created").actor == "olga"


def test_a_budget_of_a_person_and_for_each_is_refused(signed_in: SignIn, operator: User, alice: User) -> None:
    form = {"user": alice.pk, "is_each": "on", "period": "day", "amount": "1", "is_active": "on"}

    page = signed_in(operator).post("/admin/runtime/budget/add/", form)

    assert page.status_code == 200
    assert "A budget of a person has no group" in page.content.decode()
    assert not Budget.objects.exists()


def test_the_list_says_what_is_spent_now(signed_in: SignIn, operator: User) -> None:
    budget = Budget.objects.create(amount="10.00")
    Spending.objects.create(budget=budget, begins=budgets.begin_of("day"), spent="4.25", reserved="0.5")
    Spending.objects.create(budget=budget, begins="2020-01-01", spent="9.99")

    page = signed_in(operator).get("/admin/runtime/budget/").content.decode()

    assert all(text in page for text in ("everybody", "10.00 USD", "4.25 USD", "0.50 USD"))
    assert "14.24" not in page


def test_an_auditor_reads_and_does_not_write(signed_in: SignIn, dave: User) -> None:
    budget = Budget.objects.create(amount="10.00")
    ModelPrice.objects.create(model="m", input=1, cached_input=1, output=1)
    client = signed_in(dave)

    assert client.get("/admin/runtime/budget/").status_code == 200
    assert client.get("/admin/runtime/modelprice/").status_code == 200
    assert client.post(f"/admin/runtime/budget/{budget.pk}/change/", {"amount": "99"}).status_code == 403
    assert client.get("/admin/runtime/budget/add/").status_code == 403


def test_spendings_are_nobody_s_to_change(signed_in: SignIn, admin: User) -> None:
    budget = Budget.objects.create(amount="10.00")
    row = Spending.objects.create(budget=budget, begins="2026-01-01", spent="4.25")

    page = signed_in(admin).get(f"/admin/runtime/spending/{row.pk}/change/")

    assert page.status_code == 200
    assert "4.25 USD" in page.content.decode()
    assert signed_in(admin).post(f"/admin/runtime/spending/{row.pk}/delete/").status_code == 403


def test_people_see_what_is_left_of_theirs_and_of_nobody_else_s(
    signed_in: SignIn, alice: User, carol: User
) -> None:
    mine = Budget.objects.create(user=alice, amount="5.00")
    Spending.objects.create(budget=mine, begins=budgets.begin_of("day"), spent="1.50")
    Budget.objects.create(user=carol, amount="7.77", period="month")

    page = signed_in(alice).get("/").content.decode()

    assert "Your budget, today: 3.50 USD of 5.00 USD left" in page
    assert "7.77" not in page


def test_a_page_without_budgets_says_nothing_of_them(signed_in: SignIn, alice: User) -> None:
    assert "threads__budget" not in signed_in(alice).get("/").content.decode()
