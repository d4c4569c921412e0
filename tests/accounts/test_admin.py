from __future__ import annotations

from collections.abc import Callable

import pytest
from accounts.admin import ROLES_HELP
from accounts.models import User
from assistants.shop.models import Order, Refund
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db

PEOPLE = "/admin/accounts/user/"


def test_the_superuser_sees_people_with_their_roles(
    signed_in: Callable[[User], Client], admin: User, bob: User
) -> None:
    client = signed_in(admin)
    assert b"Approvers" in client.get(PEOPLE).content
    assert str(ROLES_HELP)[:40] in client.get(f"{PEOPLE}{bob.pk}/change/").content.decode()


@pytest.mark.parametrize("who", ["bob", "dave", "operator"])
def test_no_other_role_manages_people(
    request: pytest.FixtureRequest, signed_in: Callable[[User], Client], who: str
) -> None:
    assert signed_in(request.getfixturevalue(who)).get(PEOPLE).status_code == 403


def test_carol_is_sent_to_sign_in(signed_in: Callable[[User], Client], carol: User) -> None:
    assert signed_in(carol).get(PEOPLE).status_code == 302


def test_a_person_is_added_with_a_hashed_password(signed_in: Callable[[User], Client], admin: User) -> None:
    data = {
        "username": "erin",
        "usable_password": "true",
        "password1": "long enough 1",
        "password2": "long enough 1",
    }
    assert signed_in(admin).post(f"{PEOPLE}add/", data).status_code == 302
    assert User.objects.get(username="erin").check_password("long enough 1")


def test_not_even_a_superuser_changes_a_refund(signed_in: Callable[[User], Client], admin: User) -> None:
    order = Order.objects.create(number=1, customer="Ada", email="a@example.com", total="10.00")
    refund = Refund.objects.create(order=order, amount="5.00", key="k")
    client = signed_in(admin)
    assert client.get("/admin/shop/refund/").status_code == 200
    for name, args in (("add", []), ("change", [refund.pk]), ("delete", [refund.pk])):
        response = client.post(
            reverse(f"admin:shop_refund_{name}", args=args), {"amount": "1", "post": "yes"}
        )
        assert response.status_code == 403
    assert Refund.objects.get().amount == 5


def test_what_was_refunded_is_no_field(signed_in: Callable[[User], Client], admin: User) -> None:
    order = Order.objects.create(number=1, customer="Ada", email="a@example.com", total="10.00")
    data = {
        "number": 1,
        "customer": "Bea",
        "email": "a@example.com",
        "status": "shipped",
        "items": '["Lamp"]',
        "total": "10.00",
        "currency": "EUR",
        "refunded": "9.00",
    }
    signed_in(admin).post(f"/admin/shop/order/{order.pk}/change/", data)
    order.refresh_from_db()
    assert (order.customer, order.refunded) == ("Bea", 0)
