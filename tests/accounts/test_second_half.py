"""Signing in where a password is only the first half: pages, the admin, the API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from accounts import door, factors
from accounts.models import Factor, User
from accounts.sessions import user_of
from django.conf import settings as live
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings
from runtime.models import AuditEvent

from tests.conftest import PASSWORD
from tests.support.phone import Phone, phone_of, wrong

pytestmark = pytest.mark.django_db

LOGIN, ADMIN_LOGIN, CODE = "/accounts/login/", "/admin/login/", "/accounts/login/code/"
FACTOR, SET_UP = "/accounts/factor/", "/accounts/factor/set-up/"
RENEW, REMOVE = "/accounts/factor/codes/", "/accounts/factor/remove/"
DOORS = pytest.mark.parametrize("path", [LOGIN, ADMIN_LOGIN])


@pytest.fixture(autouse=True)
def required(settings: Settings) -> None:
    settings.STAFF_TOTP = "required"


def give_password(client: Client, name: str = "bob", path: str = LOGIN, to: str = "") -> Any:
    return client.post(path, {"username": name, "password": PASSWORD, "next": to})


def give_code(client: Client, code: str) -> Any:
    return client.post(CODE, {"code": code})


def is_in(client: Client) -> bool:
    return client.get("/accounts/keys/").status_code == 200


def shown_secret(page: HttpResponse) -> str:
    found = re.search(r'<code translate="no">([A-Z2-7 ]+)</code>', page.content.decode())
    assert found
    return found[1].replace(" ", "")


def shown_codes(page: HttpResponse) -> list[str]:
    return re.findall(r"<code>([a-z2-7-]{19})</code>", page.content.decode())


# The code


@DOORS
def test_a_password_leads_to_the_code_and_the_code_in(client: Client, bob: User, path: str) -> None:
    phone, _ = phone_of(bob)
    to = "/admin/approvals/approvalrequest/"

    assert give_password(client, path=path, to=to)["Location"] == CODE
    assert not is_in(client)
    assert give_code(client, phone.code())["Location"] == to
    assert is_in(client)


@DOORS
def test_a_wrong_code_is_said_and_lets_nobody_in(client: Client, bob: User, path: str) -> None:
    phone, _ = phone_of(bob)
    give_password(client, path=path)

    answer = give_code(client, wrong(phone.code()))

    assert answer.status_code == 422
    assert "is not right" in answer.content.decode()
    assert not is_in(client)


def test_a_recovery_code_signs_in(client: Client, bob: User) -> None:
    _, codes = phone_of(bob)
    give_password(client)

    give_code(client, codes[7])

    assert is_in(client)


def test_without_a_password_there_is_nothing_to_give_a_code_for(client: Client, bob: User) -> None:
    phone, _ = phone_of(bob)

    for answer in (client.get(CODE), give_code(client, phone.code())):
        assert answer["Location"] == LOGIN
    assert not is_in(client)


def test_the_first_half_lasts_ten_minutes(client: Client, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    phone, _ = phone_of(bob)
    give_password(client)
    monkeypatch.setattr(door, "HALF_FOR", 0.0)

    assert give_code(client, phone.code())["Location"] == LOGIN
    assert not is_in(client)


@pytest.mark.parametrize("change", ["password", "off", "reset"])
def test_the_first_half_ends_with_a_change_of_the_account(client: Client, bob: User, change: str) -> None:
    phone, _ = phone_of(bob)
    give_password(client)
    if change == "password":
        bob.set_password("another one 12")
    elif change == "reset":
        factors.remove(bob)
    bob.is_active = change != "off"
    bob.save()

    assert give_code(client, phone.code())["Location"] == LOGIN
    assert client.get(SET_UP).status_code == 302


def test_the_first_half_has_another_session_than_before(client: Client, bob: User) -> None:
    phone_of(bob)
    session = client.session
    session["planted"] = True
    session.save()
    planted = session.session_key

    give_password(client)

    other = Client()
    other.cookies[live.SESSION_COOKIE_NAME] = planted
    assert client.session.session_key != planted
    assert other.get(CODE)["Location"] == LOGIN


def test_a_half_signed_in_session_is_nobodys(client: Client, bob: User) -> None:
    phone_of(bob)
    give_password(client)

    assert user_of(client.session.session_key) is None


def test_who_is_no_staff_signs_in_as_ever(client: Client, alice: User) -> None:
    assert give_password(client, "alice")["Location"] == "/"
    assert is_in(client)


def test_who_is_no_staff_and_has_an_app_is_asked(client: Client, alice: User) -> None:
    phone_of(alice)

    assert give_password(client, "alice")["Location"] == CODE


def test_where_it_is_optional_who_has_none_is_not_asked(
    client: Client, bob: User, settings: Settings
) -> None:
    settings.STAFF_TOTP = "optional"
    give_password(client)
    assert is_in(client)

    phone_of(bob)
    assert not is_in(client)
    assert give_password(client)["Location"] == CODE


def test_where_it_is_off_nobody_is_asked_and_nothing_offered(
    client: Client, bob: User, settings: Settings
) -> None:
    phone_of(bob)
    settings.STAFF_TOTP = "off"

    give_password(client)

    assert is_in(client)
    assert {client.get(path).status_code for path in (FACTOR, SET_UP, RENEW, REMOVE)} == {404}
    assert FACTOR not in client.get("/").content.decode()


def test_sign_ins_and_wrong_codes_are_in_the_audit(client: Client, bob: User) -> None:
    phone, _ = phone_of(bob)
    give_password(client)
    assert not AuditEvent.objects.filter(action="user.signed_in").exists()
    give_code(client, wrong(phone.code()))
    give_code(client, phone.code())

    assert AuditEvent.objects.filter(action="user.sign_in_failed").count() == 1
    assert AuditEvent.objects.filter(action="user.signed_in", subject_id=str(bob.pk)).count() == 1


def test_five_wrong_codes_lock_the_account_as_passwords_do(client: Client, bob: User) -> None:
    phone, _ = phone_of(bob)
    give_password(client)

    answers = [give_code(client, wrong(phone.code())).status_code for _ in range(5)]

    assert answers == [422, 422, 422, 422, 429]
    assert give_code(client, phone.code()).status_code == 429
    assert give_password(Client()).status_code == 429
    assert not is_in(client)


def test_wrong_codes_of_an_address_are_limited(client: Client, bob: User, settings: Settings) -> None:
    settings.SIGN_IN_RATE, settings.AXES_FAILURE_LIMIT = "3 per 5 minutes", 1000
    address = {"REMOTE_ADDR": "203.0.113.77"}
    phone, _ = phone_of(bob)
    give_password(client)

    codes = [wrong(phone.code())] * 3 + [phone.code()]

    assert [client.post(CODE, {"code": code}, **address).status_code for code in codes] == [
        422,
        422,
        422,
        429,
    ]  # type: ignore[arg-type]


# Setting it up


@DOORS
def test_staff_without_an_app_set_it_up_before_anything_else(client: Client, bob: User, path: str) -> None:
    assert give_password(client, path=path, to="/admin/")["Location"] == SET_UP
    assert not is_in(client)
    page = client.get(SET_UP)
    phone = Phone(shown_secret(page))

    answer = client.post(SET_UP, {"code": phone.code()})

    assert 'src="data:image/svg+xml' in page.content.decode()
    assert len(shown_codes(answer)) == 10
    assert 'href="/admin/"' in answer.content.decode()
    assert client.get("/admin/").status_code == 200
    again = Client()
    give_password(again)
    give_code(again, shown_codes(answer)[0])
    assert is_in(again)


def test_the_admin_leads_staff_without_an_app_to_setting_it_up(client: Client, bob: User) -> None:
    to_login = client.get("/admin/")["Location"]
    assert to_login.startswith(ADMIN_LOGIN)

    assert give_password(client, path=to_login, to="/admin/")["Location"] == SET_UP


def test_a_session_from_before_it_was_required_ends(bob: User, settings: Settings) -> None:
    settings.STAFF_TOTP = "optional"
    client = Client()
    give_password(client)
    assert is_in(client)

    settings.STAFF_TOTP = "required"

    assert not is_in(client)


def test_who_becomes_staff_signs_in_anew(alice: User) -> None:
    client = Client()
    give_password(client, "alice")
    assert is_in(client)

    alice.is_staff = True
    alice.save()

    assert not is_in(client)
    assert give_password(client, "alice")["Location"] == SET_UP


def test_a_wrong_code_at_the_set_up_is_said_and_the_picture_stays(client: Client, bob: User) -> None:
    give_password(client)
    secret = shown_secret(client.get(SET_UP))

    answer = client.post(SET_UP, {"code": wrong(Phone(secret).code())})

    assert answer.status_code == 422
    assert shown_secret(answer) == secret
    assert not is_in(client)


def test_who_knows_a_password_can_t_replace_the_app(client: Client, bob: User) -> None:
    phone_of(bob)
    give_password(client)

    assert client.get(SET_UP)["Location"] == CODE
    assert client.post(SET_UP, {"code": "123456"})["Location"] == CODE


def test_who_is_signed_in_sets_it_up_with_their_password(alice: User) -> None:
    client, elsewhere = Client(), Client()
    give_password(client, "alice")
    give_password(elsewhere, "alice")
    phone = Phone(shown_secret(client.get(SET_UP)))

    assert client.post(SET_UP, {"code": phone.code(), "password": "wrong"}).status_code == 422
    assert client.post(SET_UP, {"code": phone.code()}).status_code == 422
    assert not Factor.objects.exists()
    assert client.post(SET_UP, {"code": phone.code(), "password": PASSWORD}).status_code == 201

    assert is_in(client)
    assert not is_in(elsewhere)
    assert "10 recovery codes are left" in client.get(FACTOR).content.decode()


def test_secrets_and_codes_are_kept_in_no_cache(client: Client, bob: User) -> None:
    give_password(client)
    page = client.get(SET_UP)
    answer = client.post(SET_UP, {"code": Phone(shown_secret(page)).code()})

    assert all("no-store" in each["Cache-Control"] for each in (page, answer))


def test_the_secret_lies_sealed_in_the_session(client: Client, bob: User) -> None:
    give_password(client)
    secret = shown_secret(client.get(SET_UP))

    assert secret not in str(dict(client.session))


@pytest.mark.parametrize("path", [FACTOR, SET_UP, RENEW, REMOVE])
def test_a_stranger_is_sent_to_sign_in(client: Client, path: str) -> None:
    for answer in (client.get(path), client.post(path, {"code": "1"})):
        assert answer.status_code == 405 or answer["Location"].startswith(LOGIN)


# Afterwards


@pytest.fixture
def inside(alice: User) -> tuple[Client, list[str]]:
    """alice, signed in with an app, and her recovery codes."""
    _, codes = phone_of(alice)
    client = Client()
    give_password(client, "alice")
    give_code(client, codes[0])
    return client, codes


def test_new_recovery_codes_take_a_code(inside: tuple[Client, list[str]], alice: User) -> None:
    client, codes = inside

    assert client.post(RENEW, {"code": "000000"}).status_code == 422
    assert len(shown_codes(client.post(RENEW, {"code": codes[1]}))) == 10
    assert factors.codes_left(alice) == 10


def test_taking_it_away_takes_a_code(inside: tuple[Client, list[str]], alice: User) -> None:
    client, codes = inside

    assert client.post(REMOVE, {"code": "000000"}).status_code == 422
    assert Factor.objects.count() == 1
    assert client.post(REMOVE, {"code": codes[1]})["Location"] == FACTOR

    assert is_in(client)
    assert not Factor.objects.exists()
    assert give_password(Client(), "alice")["Location"] == "/"


def test_staff_can_t_be_without(bob: User) -> None:
    _, codes = phone_of(bob)
    client = Client()
    give_password(client)
    give_code(client, codes[0])

    client.post(REMOVE, {"code": codes[1]})

    assert Factor.objects.count() == 1
    assert REMOVE not in client.get(FACTOR).content.decode()


# Resetting it


def reset_path(person: User) -> str:
    return reverse("admin:accounts_user_reset_factor", args=[person.pk])


def test_a_superuser_resets_it_and_all_sessions_end(
    inside: tuple[Client, list[str]], alice: User, admin: User, signed_in: Callable[[User], Client]
) -> None:
    boss = signed_in(admin)
    page = boss.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()
    assert reset_path(alice) in page
    assert boss.get(reset_path(alice)).status_code == 200
    assert Factor.objects.exists()

    boss.post(reset_path(alice))

    assert not Factor.objects.exists()
    assert not is_in(inside[0])
    event = AuditEvent.objects.get(action="factor.reset")
    assert (event.actor, event.subject_id) == ("admin", str(alice.pk))


@pytest.mark.parametrize("who", ["bob", "carol", "editor"])
def test_nobody_else_resets_it(
    request: pytest.FixtureRequest, alice: User, signed_in: Callable[[User], Client], who: str, person: Any
) -> None:
    phone_of(alice)
    if who == "editor":
        user = person("erin", staff=True)
        user.user_permissions.set(Permission.objects.filter(content_type__app_label="accounts"))
    else:
        user = request.getfixturevalue(who)
    client = signed_in(user)

    assert client.post(reset_path(alice)).status_code in (302, 403)
    assert Factor.objects.exists()
    assert reset_path(alice) not in client.get(f"/admin/accounts/user/{alice.pk}/change/").content.decode()


def test_the_command_resets_it(bob: User) -> None:
    phone_of(bob)

    call_command("reset_factor", "bob")

    assert not Factor.objects.exists()
    for name in ("bob", "nobody"):
        with pytest.raises(CommandError):
            call_command("reset_factor", name)


# Programs


def token(client: Client, **more: str) -> Any:
    body = {"username": "bob", "password": PASSWORD, **more}
    return client.post("/api/v1/auth/token", body, content_type="application/json")


def test_a_token_takes_a_code(client: Client, bob: User) -> None:
    phone, codes = phone_of(bob)

    for code in ("", wrong(phone.code())):
        answer = token(client, code=code)
        assert (answer.status_code, "access" in answer.json()) == (401, False)
    assert "`code`" in token(client).json()["detail"]

    assert token(client, code=phone.code()).status_code == 200
    assert token(client, code=phone.code()).status_code == 401
    assert token(client, code=codes[0]).status_code == 200


def test_staff_without_an_app_get_no_token(client: Client, bob: User) -> None:
    answer = token(client)

    assert answer.status_code == 403
    assert "authenticator app" in answer.json()["detail"]


def test_wrong_codes_of_programs_lock_the_account_too(client: Client, bob: User) -> None:
    phone, _ = phone_of(bob)

    answers = [token(client, code=wrong(phone.code())).status_code for _ in range(5)]

    assert answers == [401, 401, 401, 401, 429]
    assert token(client, code=phone.code()).status_code == 429


def test_tokens_end_with_the_factor(client: Client, bob: User) -> None:
    phone, _ = phone_of(bob)
    access = token(client, code=phone.code()).json()["access"]

    def status() -> int:
        return client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {access}"}).status_code

    assert status() == 200
    factors.remove(bob, "reset")
    assert status() == 401
