from __future__ import annotations

from collections.abc import Callable

import pytest
from accounts.admin import ROLES_HELP
from accounts.models import User
from assistants.shop.models import Order, Refund
from django.contrib.auth.models import Group, Permission
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


@pytest.fixture
def erin(person: Callable[..., User]) -> User:
    """Edits people, and is no superuser."""
    user = person("erin", staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    return user


def powers() -> dict[str, object]:
    """What a form would send to make somebody everything."""
    return {
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [group.pk for group in Group.objects.all()],
        "user_permissions": [permission.pk for permission in Permission.objects.all()[:5]],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "12:00",
    }


def test_who_edits_people_gives_nobody_powers(
    signed_in: Callable[[User], Client], erin: User, alice: User
) -> None:
    client = signed_in(erin)

    response = client.post(f"{PEOPLE}{alice.pk}/change/", {**powers(), "username": "alicia"})

    alice.refresh_from_db()
    assert (response.status_code, alice.username) == (302, "alicia")
    assert not alice.is_superuser
    assert not alice.is_staff
    assert not alice.user_permissions.exists()
    assert [group.name for group in alice.groups.all()] == ["Chat users"]


def test_who_adds_people_gives_them_no_powers(signed_in: Callable[[User], Client], erin: User) -> None:
    data = {"username": "fred", "usable_password": "true"}
    passwords = {"password1": "long enough 1", "password2": "long enough 1"}

    assert signed_in(erin).post(f"{PEOPLE}add/", {**powers(), **data, **passwords}).status_code == 302

    fred = User.objects.get(username="fred")
    assert not fred.is_superuser
    assert not fred.is_staff
    assert not fred.groups.exists()


def test_who_edits_people_can_t_take_over_a_superuser(
    signed_in: Callable[[User], Client], erin: User, admin: User
) -> None:
    client = signed_in(erin)
    data = {"password1": "long enough 1", "password2": "long enough 1", "usable_password": "true"}

    assert client.post(f"{PEOPLE}{admin.pk}/password/", data).status_code == 403
    assert client.post(f"{PEOPLE}{admin.pk}/change/", {**powers(), "username": "x"}).status_code == 403


def test_a_superuser_gives_powers(signed_in: Callable[[User], Client], admin: User, alice: User) -> None:
    signed_in(admin).post(f"{PEOPLE}{alice.pk}/change/", {**powers(), "username": "alice"})

    alice.refresh_from_db()
    assert alice.is_superuser
    assert alice.groups.count() == Group.objects.count()


def test_nobody_is_deleted(signed_in: Callable[[User], Client], admin: User, alice: User) -> None:
    client = signed_in(admin)
    selected = {"action": "delete_selected", "_selected_action": alice.pk, "post": "yes"}

    assert client.post(f"{PEOPLE}{alice.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(PEOPLE, selected)

    assert User.objects.filter(pk=alice.pk).exists()
    page = client.get(f"{PEOPLE}{alice.pk}/change/").content.decode()
    assert "instead of deleting" in page  # Django's own help text of `is_active`


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
