"""Single sign-on, against a provider over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from accounts import oidc
from accounts.models import Identity, User
from django.conf import settings as live
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings
from runtime.models import AuditEvent

from tests.conftest import PASSWORD
from tests.support import provider as providers
from tests.support.phone import phone_of
from tests.support.provider import Provider

pytestmark = pytest.mark.django_db

START, LOGIN = "/accounts/oidc/", "/accounts/login/"
ALICE = {"sub": "a-1", "email": "alice@example.com", "email_verified": True, "preferred_username": "alice.w"}


@pytest.fixture
def provider(settings: Settings) -> Iterator[Provider]:
    with providers.running() as running:
        settings.OIDC_ISSUER = running.issuer
        settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = providers.CLIENT_ID, providers.CLIENT_SECRET
        running.claims = dict(ALICE)
        yield running
    oidc._client.cache_clear()


def left(client: Client, to: str = "") -> str:
    """Where the provider sends the browser back to."""
    there = client.get(START, {"next": to} if to else {})["Location"]
    return httpx.get(there).headers["Location"]


def come_back(client: Client, to: str = "") -> Any:
    return client.get(left(client, to))


def is_in(client: Client) -> bool:
    return client.get("/accounts/keys/").status_code == 200


def test_who_has_an_account_with_the_address_is_signed_in(
    client: Client, provider: Provider, alice: User
) -> None:
    answer = come_back(client, "/accounts/keys/")

    assert answer["Location"] == "/accounts/keys/"
    assert client.session["_auth_user_id"] == str(alice.pk)
    assert is_in(client)
    assert AuditEvent.objects.filter(action="user.signed_in", subject_id=str(alice.pk)).count() == 1
    assert AuditEvent.objects.filter(action="user.identity_linked", subject_id=str(alice.pk)).count() == 1


def test_it_asks_with_pkce_state_and_nonce(client: Client, provider: Provider, alice: User) -> None:
    come_back(client)

    query = provider.asked[0]
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert all(len(query[name]) >= 20 for name in ("state", "nonce", "code_challenge"))
    come_back(Client())
    assert provider.asked[0]["state"] != provider.asked[1]["state"]


def test_who_changed_their_address_is_still_known(client: Client, provider: Provider, alice: User) -> None:
    come_back(client)
    provider.claims["email"] = "elsewhere@example.com"

    again = Client()
    come_back(again)

    assert again.session["_auth_user_id"] == str(alice.pk)
    assert Identity.objects.count() == 1


@pytest.mark.parametrize(
    "claims", [{"email_verified": False}, {"email_verified": "yes"}, {"email": "x@example.com"}]
)
def test_an_address_that_is_not_theirs_finds_nobody(
    client: Client, provider: Provider, alice: User, claims: dict[str, Any]
) -> None:
    provider.claims.update(claims)

    answer = come_back(client)

    assert answer.status_code == 403
    assert "no account here" in answer.content.decode()
    assert not is_in(client)
    event = AuditEvent.objects.get(action="user.sign_in_failed")
    assert event.told["after"]["why"] == "no account"


def test_of_two_accounts_with_the_address_neither_is_theirs(
    client: Client, provider: Provider, alice: User, carol: User, settings: Settings
) -> None:
    settings.OIDC_CREATES_PEOPLE = True
    User.objects.filter(pk=carol.pk).update(email="Alice@example.com")

    assert come_back(client).status_code == 403
    assert User.objects.count() == 2


def test_an_address_leads_to_no_superuser(client: Client, provider: Provider, admin: User) -> None:
    provider.claims["email"] = admin.email

    assert come_back(client).status_code == 403
    assert not is_in(client)


def test_who_is_switched_off_stays_out(client: Client, provider: Provider, alice: User) -> None:
    come_back(client)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    again = Client()

    assert come_back(again).status_code == 403
    assert not is_in(again)
    assert AuditEvent.objects.get(action="user.sign_in_failed").told["after"]["why"] == "switched off"


def test_people_are_made_only_where_it_is_allowed(
    client: Client, provider: Provider, settings: Settings
) -> None:
    assert come_back(client).status_code == 403
    assert not User.objects.exists()

    settings.OIDC_CREATES_PEOPLE = True
    provider.claims.update(is_superuser=True, is_staff=True, groups=["admins"])
    assert come_back(client).status_code == 302

    made = User.objects.get()
    assert (made.username, made.email, made.has_usable_password()) == ("alice.w", ALICE["email"], False)
    assert (made.is_superuser, made.is_staff, made.groups.count()) == (False, False, 0)


@pytest.mark.parametrize("name", ["bob", "BOB", "a b", "", "x" * 151, 7])
def test_a_name_that_is_taken_or_none_is_replaced(
    client: Client, provider: Provider, bob: User, settings: Settings, name: Any
) -> None:
    settings.OIDC_CREATES_PEOPLE = True
    provider.claims.update(preferred_username=name, email="")

    come_back(client)

    assert User.objects.exclude(pk=bob.pk).get().username.startswith("sso-")


# Roles


@pytest.fixture
def mapped(settings: Settings) -> None:
    settings.OIDC_GROUPS = {"chatters": "Chat users", "signers": "Approvers"}


def groups_of(user: User) -> set[str]:
    return set(user.groups.values_list("name", flat=True))


def test_roles_come_and_go_with_the_claim(provider: Provider, mapped: None, alice: User, person: Any) -> None:
    provider.claims["groups"] = ["signers", "unheard of"]
    come_back(Client())
    alice.refresh_from_db()
    assert (groups_of(alice), alice.is_staff, alice.is_superuser) == ({"Approvers"}, True, False)

    provider.claims["groups"] = ["chatters"]
    come_back(Client())
    alice.refresh_from_db()
    assert (groups_of(alice), alice.is_staff) == ({"Chat users"}, False)


def test_roles_that_are_not_mapped_are_left(provider: Provider, mapped: None, dave: User) -> None:
    provider.claims.update(email=dave.email, groups=[])

    come_back(Client())

    dave.refresh_from_db()
    assert (groups_of(dave), dave.is_staff) == ({"Auditors"}, True)


@pytest.mark.parametrize("said", ["signers", {"signers": 1}, None, [["signers"]]])
def test_a_claim_that_is_no_list_gives_nothing(
    provider: Provider, mapped: None, alice: User, said: Any
) -> None:
    provider.claims["groups"] = said

    come_back(Client())

    assert groups_of(alice) == set()


# With the other ways in


def test_an_app_is_asked_for_after_it_too(
    client: Client, provider: Provider, settings: Settings, bob: User
) -> None:
    settings.STAFF_TOTP = "required"
    provider.claims["email"] = bob.email
    assert come_back(client)["Location"] == reverse("factor-set-up")
    phone, _ = phone_of(bob)
    assert come_back(client, "/admin/")["Location"] == reverse("login-code")
    assert not is_in(client)

    assert client.post(reverse("login-code"), {"code": phone.code()})["Location"] == "/admin/"
    assert is_in(client)


def test_the_provider_may_be_enough(
    client: Client, provider: Provider, settings: Settings, bob: User
) -> None:
    settings.STAFF_TOTP, settings.OIDC_REPLACES_TOTP = "required", True
    provider.claims["email"] = bob.email

    come_back(client)

    assert is_in(client)


def test_passwords_may_be_for_superusers_only(
    client: Client, settings: Settings, alice: User, admin: User
) -> None:
    settings.PASSWORD_SIGN_IN = "superusers"
    program = {"username": "alice", "password": PASSWORD}

    assert client.post(LOGIN, program).status_code == 200
    assert client.post("/api/v1/auth/token", program, content_type="application/json").status_code == 401
    assert not is_in(client)
    assert client.post(LOGIN, {"username": "admin", "password": "wrong"}).status_code == 200
    assert client.post(LOGIN, {"username": "admin", "password": PASSWORD}).status_code == 302


def test_both_sign_ins_have_the_button(client: Client, provider: Provider, settings: Settings) -> None:
    settings.OIDC_NAME = "Acme"
    for path in (LOGIN, "/admin/login/"):
        html = client.get(path, {"next": "/admin/x"}).content.decode()
        assert "Sign in with Acme" in html
        assert f"{START}?next=%2Fadmin%2Fx" in html or f"{START}?next=/admin/x" in html


def test_without_a_provider_there_is_nothing(client: Client) -> None:
    assert client.get(START).status_code == 404
    assert client.get(reverse("oidc-callback")).status_code == 404
    assert START not in client.get(LOGIN).content.decode()


def test_a_provider_that_is_away_is_said(client: Client, settings: Settings) -> None:
    with providers.running() as gone:
        settings.OIDC_ISSUER = gone.issuer
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = "c", "s"

    answer = client.get(START)

    assert answer.status_code == 502
    assert "can't be reached" in answer.content.decode() or "can&#x27;t be reached" in answer.content.decode()


def test_a_provider_by_another_name_is_none(client: Client, provider: Provider, settings: Settings) -> None:
    settings.OIDC_ISSUER = provider.issuer + "/"

    assert client.get(START).status_code == 400


def test_who_says_no_there_is_not_signed_in(client: Client, provider: Provider, alice: User) -> None:
    state = parse_qs(urlsplit(left(client)).query)["state"][0]

    answer = client.get(reverse("oidc-callback"), {"error": "access_denied", "state": state})

    assert answer.status_code == 400
    assert not is_in(client)


def test_the_session_is_a_new_one(client: Client, provider: Provider, alice: User) -> None:
    back = left(client)
    before = client.cookies[live.SESSION_COOKIE_NAME].value

    client.get(back)

    assert client.cookies[live.SESSION_COOKIE_NAME].value != before


@pytest.mark.parametrize("claims", [{"sub": ""}, {"sub": None}, {"sub": 7}, {"iss": "https://evil.example"}])
def test_claims_that_name_nobody_are_refused(
    client: Client, provider: Provider, alice: User, claims: dict[str, Any]
) -> None:
    provider.claims.update(claims)

    assert come_back(client).status_code == 400
    assert not is_in(client)


def test_an_answer_counts_once(client: Client, provider: Provider, alice: User) -> None:
    link = left(client)
    client.get(link)
    client.post(reverse("logout"))

    assert client.get(link).status_code == 400
    assert not is_in(client)


def test_a_token_for_several_is_for_us_too(client: Client, provider: Provider, alice: User) -> None:
    provider.claims.update(aud=[providers.CLIENT_ID, "another"], azp=providers.CLIENT_ID)

    assert come_back(client).status_code == 302
    assert is_in(client)
