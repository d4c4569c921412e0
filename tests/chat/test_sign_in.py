"""The door."""

from __future__ import annotations

from accounts.models import User
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD


def sign_in(client: Client, password: str = PASSWORD) -> int:
    return client.post(reverse("login"), {"username": "alice", "password": password}).status_code


def test_signing_in_leads_to_the_threads(client: Client, alice: User) -> None:
    response = client.post(reverse("login"), {"username": "alice", "password": PASSWORD})

    assert response.headers["Location"] == reverse("chat-home")


def test_a_wrong_password_is_said(client: Client, alice: User) -> None:
    response = client.post(reverse("login"), {"username": "alice", "password": "wrong"})

    assert 'role="alert"' in response.content.decode()


def test_signing_out_is_a_post(client: Client, alice: User) -> None:
    sign_in(client)

    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout")).headers["Location"] == reverse("login")
    assert client.get("/").headers["Location"].startswith(reverse("login"))


def test_a_password_can_be_changed(client: Client, alice: User) -> None:
    sign_in(client)
    new = "a quite different one 7"

    response = client.post(
        reverse("password_change"), {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    )

    assert response.headers["Location"] == reverse("password_change_done")
    assert "Password changed" in client.get(reverse("password_change_done")).content.decode()


def test_errors_of_a_field_are_tied_to_it(client: Client, alice: User) -> None:
    sign_in(client)

    html = client.post(reverse("password_change"), {"old_password": "wrong"}).content.decode()

    assert 'id="id_old_password_error"' in html
    assert 'aria-invalid="true"' in html
