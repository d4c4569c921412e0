"""One's own keys, everybody's in the admin, and the command."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from accounts import keys
from accounts.exceptions import BadCredential
from accounts.models import ApiKey, User
from accounts.scopes import Scope
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

pytestmark = pytest.mark.django_db

PAGE, ADMIN = "/accounts/keys/", "/admin/accounts/apikey/"
KEY = re.compile(r"cs_[0-9a-f]{12}_[A-Za-z0-9]{40}")
NEW = {"name": "Nightly report", "scopes": ["chat"], "lifetime": "30"}


@pytest.fixture
def key(alice: User) -> ApiKey:
    return keys.create_key(alice, "Nightly report", [Scope.CHAT], timedelta(days=30))[0]


def secret_in(response: HttpResponse) -> str:
    found = KEY.findall(response.content.decode())
    assert len(found) == 1
    assert "no-store" in response["Cache-Control"]
    return str(found[0])


def shows_a_secret(response: HttpResponse) -> bool:
    return KEY.search(response.content.decode()) is not None


# One's own


@pytest.mark.parametrize("path", ["", "{key}/rotate/", "{key}/revoke/"])
def test_a_stranger_signs_in_first(client: Client, key: ApiKey, path: str) -> None:
    url = PAGE + path.format(key=key.pk)

    for response in (client.get(url), client.post(url, {**NEW, "grace": "0"})):
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/")
    assert ApiKey.objects.get().status == "active"


@pytest.mark.parametrize("path", ["rotate/", "revoke/"])
def test_anothers_key_is_not_there(
    signed_in: Callable[[User], Client], carol: User, admin: User, key: ApiKey, path: str
) -> None:
    for other in (carol, admin):
        browser = signed_in(other)
        assert browser.get(f"{PAGE}{key.pk}/{path}").status_code == 404
        assert browser.post(f"{PAGE}{key.pk}/{path}", {"grace": "0"}).status_code == 404
        assert key.name not in browser.get(PAGE).content.decode()
    assert ApiKey.objects.get().status == "active"


def test_a_new_key_is_shown_once(signed_in: Callable[[User], Client], alice: User) -> None:
    browser = signed_in(alice)

    response = browser.post(PAGE, NEW)

    assert response.status_code == 201
    found = keys.key_of(secret_in(response))
    assert (found.owner, found.name, found.scopes) == (alice, "Nightly report", ["chat"])
    assert found.lifetime == timedelta(days=30)
    after = browser.get(PAGE)
    assert str(found) in after.content.decode()
    assert not shows_a_secret(after)
    assert not any(KEY.search(str(session.get_decoded())) for session in Session.objects.all())


def test_a_key_may_have_no_end(signed_in: Callable[[User], Client], alice: User) -> None:
    signed_in(alice).post(PAGE, {**NEW, "lifetime": ""})

    assert ApiKey.objects.get().expires_at is None


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": []},
        {"scopes": ["approve"]},  # alice may not, so no key of hers
        {"scopes": ["everything"]},
        {"name": ""},
        {"name": " "},
        {"name": "a" * 81},
        {"name": "a\u202eb"},
        {"lifetime": "99999"},
    ],
)
def test_what_is_not_offered_is_refused(
    signed_in: Callable[[User], Client], alice: User, change: dict[str, object]
) -> None:
    response = signed_in(alice).post(PAGE, {**NEW, **change})

    assert response.status_code == 422
    assert not ApiKey.objects.exists()


def test_fields_that_are_not_asked_change_nothing(
    signed_in: Callable[[User], Client], alice: User, carol: User
) -> None:
    signed_in(alice).post(PAGE, {**NEW, "owner": carol.pk, "digest": "0" * 64, "prefix": "x"})

    assert ApiKey.objects.get().owner == alice


def test_who_has_no_role_is_told(signed_in: Callable[[User], Client], person: Callable[..., User]) -> None:
    response = signed_in(person("erin")).get(PAGE)

    assert "Ask an administrator for a role" in response.content.decode()
    assert "Make the key" not in response.content.decode()


def test_past_the_limit_the_page_says_what_to_do(
    signed_in: Callable[[User], Client], alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KEY_LIMIT", 0)

    response = signed_in(alice).post(PAGE, NEW)

    assert response.status_code == 422
    assert "Revoke one" in response.content.decode()


def test_revoking_asks_first(signed_in: Callable[[User], Client], alice: User, key: ApiKey) -> None:
    browser = signed_in(alice)
    assert "Revoke this key?" in browser.get(f"{PAGE}{key.pk}/revoke/").content.decode()
    assert ApiKey.objects.get().status == "active"

    response = browser.post(f"{PAGE}{key.pk}/revoke/", follow=True)

    assert "was revoked" in response.content.decode()
    assert ApiKey.objects.get().status == "revoked"
    again = browser.post(f"{PAGE}{key.pk}/revoke/", follow=True)
    assert "Reload the page" in again.content.decode()


def test_replacing_gives_a_new_key_and_the_grace_that_was_chosen(
    signed_in: Callable[[User], Client], alice: User, key: ApiKey
) -> None:
    browser = signed_in(alice)

    text = secret_in(browser.post(f"{PAGE}{key.pk}/rotate/", {"grace": "3600"}))

    assert keys.key_of(text).name == key.name
    key.refresh_from_db()
    assert key.status == "replaced_soon"
    assert key.expires_at
    assert timedelta(minutes=59) < key.expires_at - timezone.now() <= timedelta(hours=1)
    assert not shows_a_secret(browser.post(f"{PAGE}{key.pk}/rotate/", {"grace": "0"}, follow=True))


def test_a_grace_of_ones_own_is_refused(
    signed_in: Callable[[User], Client], alice: User, key: ApiKey
) -> None:
    assert signed_in(alice).post(f"{PAGE}{key.pk}/rotate/", {"grace": "99999999"}).status_code == 422
    assert ApiKey.objects.count() == 1


def test_forms_need_their_csrf_token(alice: User, key: ApiKey) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")

    assert browser.post(PAGE, NEW).status_code == 403
    assert browser.post(f"{PAGE}{key.pk}/revoke/").status_code == 403
    assert ApiKey.objects.get().status == "active"


def test_a_key_is_no_way_to_make_keys(client: Client, alice: User) -> None:
    _, text = keys.create_key(alice, "test", [Scope.CHAT], None)

    response = client.post(PAGE, NEW, headers={"x-api-key": text})

    assert response.status_code == 302
    assert ApiKey.objects.count() == 1


# In the admin


@pytest.fixture
def erin(person: Callable[..., User]) -> User:
    """May view and change keys, and is no superuser."""
    user = person("erin", staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__endswith="_apikey"))
    return user


@pytest.mark.parametrize("who", ["bob", "dave", "operator"])
@pytest.mark.parametrize("path", ["", "add/", "{key}/change/", "{key}/revoke/", "{key}/rotate/"])
def test_no_other_role_sees_keys(
    request: pytest.FixtureRequest, signed_in: Callable[[User], Client], key: ApiKey, who: str, path: str
) -> None:
    url = ADMIN + path.format(key=key.pk)
    browser = signed_in(request.getfixturevalue(who))

    assert browser.get(url).status_code == 403
    assert browser.post(url, {"grace": "0"}).status_code == 403
    assert ApiKey.objects.get().status == "active"


def test_carol_is_no_staff(signed_in: Callable[[User], Client], carol: User, key: ApiKey) -> None:
    for path in ("", f"{key.pk}/revoke/", f"{key.pk}/rotate/"):
        assert signed_in(carol).post(ADMIN + path, {"grace": "0"}).status_code == 302
    assert ApiKey.objects.get().status == "active"


def test_a_superuser_gives_a_key_to_somebody(
    signed_in: Callable[[User], Client], admin: User, alice: User
) -> None:
    browser = signed_in(admin)
    assert browser.get(f"{ADMIN}add/").status_code == 200

    response = browser.post(f"{ADMIN}add/", {**NEW, "owner": alice.pk})

    assert keys.key_of(secret_in(response)).owner == alice
    for path in ("", f"{ApiKey.objects.get().pk}/change/"):
        page = browser.get(ADMIN + path)
        assert page.status_code == 200
        assert not shows_a_secret(page)


def test_past_the_limit_a_superuser_is_told_too(
    signed_in: Callable[[User], Client], admin: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KEY_LIMIT", 0)

    response = signed_in(admin).post(f"{ADMIN}add/", {**NEW, "owner": alice.pk}, follow=True)

    assert "as many keys" in response.content.decode()
    assert not ApiKey.objects.exists()


def test_who_may_change_keys_revokes_and_never_gets_one(
    signed_in: Callable[[User], Client], erin: User, key: ApiKey, admin: User
) -> None:
    browser = signed_in(erin)
    assert browser.get(f"{ADMIN}add/").status_code == 403
    assert browser.post(f"{ADMIN}add/", {**NEW, "owner": admin.pk}).status_code == 403
    assert browser.post(f"{ADMIN}{key.pk}/rotate/", {"grace": "0"}).status_code == 403
    assert "Revoke this key?" in browser.get(f"{ADMIN}{key.pk}/revoke/").content.decode()

    browser.post(f"{ADMIN}{key.pk}/revoke/")

    assert ApiKey.objects.get().status == "revoked"


def test_a_superuser_replaces_a_key(
    signed_in: Callable[[User], Client], admin: User, key: ApiKey, alice: User
) -> None:
    browser = signed_in(admin)
    assert browser.get(f"{ADMIN}{key.pk}/rotate/").status_code == 200

    text = secret_in(browser.post(f"{ADMIN}{key.pk}/rotate/", {"grace": "86400"}))

    assert keys.key_of(text).owner == alice
    assert not shows_a_secret(browser.post(f"{ADMIN}{key.pk}/rotate/", {"grace": "0"}, follow=True))


def test_nothing_else_is_changed_there(
    signed_in: Callable[[User], Client], admin: User, key: ApiKey, carol: User
) -> None:
    browser = signed_in(admin)
    data = {
        "owner": carol.pk,
        "name": "x",
        "scopes": list(Scope.values),
        "revoked_at": "",
        "digest": "0" * 64,
    }

    browser.post(f"{ADMIN}{key.pk}/change/", data)

    found = ApiKey.objects.get()
    assert (found.owner_id, found.name, found.scopes) == (key.owner_id, key.name, ["chat"])
    assert browser.post(f"{ADMIN}{key.pk}/delete/", {"post": "yes"}).status_code == 403


# The command


def made(*args: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("create_api_key", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_prints_the_key_alone(alice: User) -> None:
    out, err = made("alice", "--name", "cron", "--scope", "chat", "--days", "7")

    found = keys.key_of(out.removesuffix("\n"))
    assert (found.owner, found.name, found.lifetime) == (alice, "cron", timedelta(days=7))
    assert str(found) in err
    assert not KEY.search(err)


def test_it_says_what_a_scope_gives_not_yet(alice: User) -> None:
    _, err = made("alice", "--name", "cron", "--scope", "chat", "--scope", "audit")

    assert "no permission for audit" in err


@pytest.mark.parametrize(
    "args",
    [
        ("nobody", "--name", "n", "--scope", "chat"),
        ("alice", "--name", "", "--scope", "chat"),
        ("alice", "--name", "a" * 81, "--scope", "chat"),
        ("alice", "--name", "n", "--scope", "all"),
        ("alice", "--name", "n"),
        ("alice", "--name", "n", "--scope", "chat", "--days", "0"),
    ],
)
def test_what_it_can_t_make_it_refuses(alice: User, args: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        made(*args)
    assert not ApiKey.objects.exists()


def test_it_makes_none_for_who_was_switched_off(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    with pytest.raises(CommandError, match="switched off"):
        made("alice", "--name", "n", "--scope", "chat")


def test_a_revoked_key_stays_revoked_when_its_owner_makes_another(
    signed_in: Callable[[User], Client], alice: User
) -> None:
    browser = signed_in(alice)
    first = secret_in(browser.post(PAGE, NEW))
    browser.post(f"{PAGE}{ApiKey.objects.get().pk}/revoke/")
    browser.post(PAGE, NEW)

    with pytest.raises(BadCredential):
        keys.key_of(first)
