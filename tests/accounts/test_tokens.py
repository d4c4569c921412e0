"""Signing in to the API by name and password."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from accounts import tokens
from accounts.models import TokenFamily, User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings
from runtime.models import AuditEvent

from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

AUTH = "/api/v1/auth/"


def post(client: Client, name: str, **data: Any) -> Any:
    return client.post(f"{AUTH}{name}", data, content_type="application/json")


def sign_in(client: Client, username: str = "alice", password: str = PASSWORD) -> Any:
    return post(client, "token", username=username, password=password)


def me(client: Client, access: str) -> HttpResponse:
    return client.get(f"{AUTH}me", headers={"Authorization": f"Bearer {access}"})


def claims(text: str) -> dict[str, Any]:
    return jwt.decode(text, options={"verify_signature": False})


def signed(given: dict[str, Any], key: bytes | None = None, algorithm: str = "HS256") -> str:
    return jwt.encode(given, tokens._key() if key is None else key, algorithm=algorithm)


def test_the_right_password_gives_tokens_that_work(client: Client, alice: User) -> None:
    pair = sign_in(client).json()

    assert (pair["expires_in"], pair["token_type"]) == (900, "Bearer")
    assert me(client, pair["access"]).status_code == 200
    alice.refresh_from_db()
    assert alice.last_login
    assert AuditEvent.objects.filter(action="user.signed_in", actor="alice").count() == 1


def test_a_wrong_password_or_name_gives_none(client: Client, alice: User) -> None:
    wrong, unknown = sign_in(client, password="wrong"), sign_in(client, username="nobody")

    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.json() == unknown.json()
    assert not TokenFamily.objects.exists()
    assert AuditEvent.objects.filter(action="user.sign_in_failed").count() == 2


def test_who_was_switched_off_gets_none(client: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert sign_in(client).status_code == 401


def test_wrong_passwords_lock_the_account_here_as_on_the_page(client: Client, alice: User) -> None:
    answers = [sign_in(client, password=f"wrong {n}") for n in range(5)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 429]
    locked = sign_in(client)
    assert (locked.status_code, locked["Retry-After"]) == (429, "900")
    assert "locked" in locked.json()["detail"]
    page = client.post("/accounts/login/", {"username": "alice", "password": PASSWORD})
    assert page.status_code == 429
    assert AuditEvent.objects.filter(action="user.locked_out").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"username": "alice"}',
        b'{"username": "a\\u0000b", "password": "x"}',
        b'{"username": "\\ud800", "password": "x"}',
        b'{"username": ["alice"], "password": {"a": 1}}',
        json.dumps({"username": "a" * 151, "password": "x"}).encode(),
        b"[" * 10_000,
        b"\xff",
    ],
)
def test_what_can_t_be_read_is_refused(client: Client, alice: User, body: bytes) -> None:
    response = client.post(f"{AUTH}token", body, content_type="application/json")

    assert response.status_code in (400, 422)


def test_a_password_with_nul_is_not_even_read(client: Client, alice: User) -> None:
    assert sign_in(client, password="a\x00b").status_code == 422


# What a token is refused for


@pytest.mark.parametrize(
    "change",
    [
        {"exp": timezone.now() - timedelta(seconds=1)},
        {"iss": "somebody else"},
        {"aud": "another service"},
        {"aud": tokens.REFRESH},
        {"fam": "00000000-0000-4000-8000-000000000000"},
        {"fam": "nonsense"},
        {"fam": 7},
        {"fam": None},
        {"sub": 7},
        {"iat": timezone.now() + timedelta(hours=1)},
    ],
)
def test_changed_claims_are_refused_though_they_are_signed(
    client: Client, alice: User, change: dict[str, Any]
) -> None:
    good = claims(sign_in(client).json()["access"])
    assert me(client, signed(good)).status_code == 200

    assert me(client, signed({**good, **change})).status_code == 401


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "fam", "jti", "iat", "exp"])
def test_no_claim_may_be_missing(client: Client, alice: User, missing: str) -> None:
    good = claims(sign_in(client).json()["access"])
    good.pop(missing)

    assert me(client, signed(good)).status_code == 401


def test_an_expired_token_says_what_to_do(client: Client, alice: User) -> None:
    good = claims(sign_in(client).json()["access"])
    response = me(client, signed({**good, "exp": timezone.now() - timedelta(seconds=1)}))

    assert "expired" in json.loads(response.content)["detail"]


def test_another_key_signs_nothing(client: Client, alice: User, settings: Settings) -> None:
    good = claims(sign_in(client).json()["access"])

    for key in (b"\0" * 32, settings.SECRET_KEY.encode().ljust(32, b"\0")):
        assert me(client, signed(good, key)).status_code == 401


def test_alg_none_is_refused(client: Client, alice: User) -> None:
    good = claims(sign_in(client).json()["access"])
    unsigned = jwt.encode(good, None, algorithm="none")

    assert me(client, unsigned).status_code == 401


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_is_refused_with_the_right_key(client: Client, alice: User, algorithm: str) -> None:
    good = claims(sign_in(client).json()["access"])

    with pytest.warns(jwt.InsecureKeyLengthWarning):
        forged = signed(good, algorithm=algorithm)
    assert me(client, forged).status_code == 401


def test_another_name_in_a_token_breaks_its_signature(client: Client, alice: User, carol: User) -> None:
    head, body, signature = sign_in(client).json()["access"].split(".")
    mine = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**mine, "sub": str(carol.pk)}).encode()).rstrip(b"=")

    assert me(client, f"{head}.{forged.decode()}.{signature}").status_code == 401


def test_a_refresh_token_opens_nothing(client: Client, alice: User) -> None:
    pair = sign_in(client).json()

    assert me(client, pair["refresh"]).status_code == 401
    assert post(client, "refresh", refresh=pair["access"]).status_code == 401


# When tokens die


@pytest.fixture
def pair(client: Client, alice: User) -> dict[str, str]:
    given: dict[str, str] = sign_in(client).json()
    return given


def are_dead(client: Client, pair: dict[str, str]) -> bool:
    statuses = {me(client, pair["access"]).status_code}
    statuses.add(post(client, "refresh", refresh=pair["refresh"]).status_code)
    assert statuses <= {200, 401}
    return statuses == {401}


def test_with_a_new_password(client: Client, alice: User, pair: dict[str, str]) -> None:
    alice.set_password("another long one")
    alice.save()

    assert are_dead(client, pair)


def test_with_a_switched_off_account(client: Client, alice: User, pair: dict[str, str]) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert are_dead(client, pair)


def test_with_signing_out(client: Client, pair: dict[str, str]) -> None:
    response = post(client, "revoke", refresh=pair["refresh"])

    assert (response.status_code, response.content) == (204, b"")
    assert are_dead(client, pair)
    assert AuditEvent.objects.filter(action="user.signed_out", actor="alice").count() == 1
    assert post(client, "revoke", refresh=pair["refresh"]).status_code == 204
    assert post(client, "revoke", refresh="nonsense").status_code == 204


def test_with_their_time(client: Client, pair: dict[str, str]) -> None:
    TokenFamily.objects.update(expires_at=timezone.now())

    assert are_dead(client, pair)


def test_one_sign_in_ends_without_the_others(client: Client, pair: dict[str, str]) -> None:
    other = sign_in(client).json()

    post(client, "revoke", refresh=pair["refresh"])

    assert me(client, other["access"]).status_code == 200


# Refreshing


def test_refreshing_gives_the_next_pair(client: Client, pair: dict[str, str]) -> None:
    following = post(client, "refresh", refresh=pair["refresh"]).json()

    assert me(client, following["access"]).status_code == 200
    assert post(client, "refresh", refresh=following["refresh"]).status_code == 200


def test_refreshing_gives_no_longer_life(client: Client, pair: dict[str, str]) -> None:
    following = post(client, "refresh", refresh=pair["refresh"]).json()

    assert claims(following["refresh"])["exp"] == claims(pair["refresh"])["exp"]


def test_no_token_outlives_its_family(client: Client, pair: dict[str, str]) -> None:
    soon = timezone.now() + timedelta(seconds=60)
    TokenFamily.objects.update(expires_at=soon)

    following = post(client, "refresh", refresh=pair["refresh"]).json()

    assert claims(following["access"])["exp"] <= soon.timestamp()


def test_a_refresh_token_that_comes_again_ends_all_that_came_of_it(
    client: Client, pair: dict[str, str]
) -> None:
    following = post(client, "refresh", refresh=pair["refresh"]).json()

    assert post(client, "refresh", refresh=pair["refresh"]).status_code == 401

    assert are_dead(client, following)
    event = AuditEvent.objects.get(action="token.reused")
    assert event.subject_kind == "user"


def test_tokens_are_not_kept_in_the_database(pair: dict[str, str]) -> None:
    row = str(TokenFamily.objects.values().get())

    for text in (pair["access"], pair["refresh"]):
        assert text not in row
        assert claims(text)["jti"] not in row


def test_only_so_many_sign_ins_are_remembered(
    client: Client, pair: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "FAMILY_LIMIT", 2)
    later = [sign_in(client).json() for _ in range(2)]

    assert me(client, pair["access"]).status_code == 401
    assert [me(client, each["access"]).status_code for each in later] == [200, 200]


def test_a_browsers_session_is_no_part_of_it(
    signed_in: Callable[[User], Client], alice: User, pair: dict[str, str]
) -> None:
    browser = signed_in(alice)

    post(browser, "revoke", refresh=pair["refresh"])

    assert browser.get(f"{AUTH}me").status_code == 200
    assert sign_in(Client(enforce_csrf_checks=True)).status_code == 200
