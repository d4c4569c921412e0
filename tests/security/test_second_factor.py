"""More of attacks 1, 6, 12 and 23: a password that is known is only the first half of a sign-in."""

from __future__ import annotations

from typing import Any

import pytest
from accounts import factors
from accounts.models import User
from asgiref.sync import sync_to_async
from django.conf import settings as live
from django.test import Client

from tests.accounts.test_second_half import CODE, LOGIN, give_code, give_password, token
from tests.chat.test_consumers import connect  # noqa: F401  (a fixture)
from tests.conftest import PASSWORD
from tests.security.registry import attack
from tests.security.test_sockets_and_streams import first_word
from tests.security.without import patched, setting
from tests.support.phone import Phone, phone_of, wrong

pytestmark = pytest.mark.django_db

PAGES = ["/admin/", "/admin/approvals/approvalrequest/", "/accounts/keys/", "/accounts/password/"]


@pytest.fixture(autouse=True)
def required(settings: Any) -> None:
    settings.STAFF_TOTP = "required"


@pytest.fixture
def bobs(bob: User) -> Phone:
    return phone_of(bob)[0]


def any_age(secret: str, code: str, *, after: int) -> int | None:
    """The step of a code, whether or not it was given before."""
    return STEP_OF(secret, code, after=0)


STEP_OF = factors._step_of


def never_locked(*given: Any, **more: Any) -> None:
    """A count that is not kept."""


@attack(
    1,
    "a code that was seen over somebody's shoulder is sent a second time: pages and the API",
    "refused",
    control="a code, and all before it, count once",
    without=patched("accounts.factors._step_of", any_age),
    held=(422, 401),
    fallen=(302, 200),
    known_as="ASVS 6.5.1",
)
def test_01_a_code_is_replayed(bobs):
    code = bobs.code()
    owner, thief = Client(), Client()
    give_password(owner)
    assert give_code(owner, code).status_code == 302
    give_password(thief)
    return give_code(thief, code).status_code, token(Client(), code=code).status_code


@attack(
    1,
    "five codes are guessed by who has the password; then the right one",
    "429, the right one too",
    control="wrong codes lock an account as wrong passwords do",
    without=setting(AXES_FAILURE_LIMIT=1000),
    held=429,
    fallen=302,
    known_as="ASVS 6.3.1, 6.6.3",
)
def test_01_codes_are_guessed(bobs):
    client = Client()
    give_password(client)
    for _ in range(5):
        give_code(client, wrong(bobs.code()))
    return give_code(client, bobs.code()).status_code


@attack(
    1,
    "codes are guessed from ever other addresses; then the right one",
    "429, the right one too",
    control="ten wrong codes in a row, from wherever, lock the factor",
    without=patched("accounts.factors._count", never_locked),
    held=429,
    fallen=200,
)
def test_01_codes_are_guessed_from_everywhere(bobs):
    def guess(code: str, address: int) -> int:
        body = {"username": "bob", "password": PASSWORD, "code": code}
        from_there = {"REMOTE_ADDR": f"203.0.113.{address}"}
        path = "/api/v1/auth/token"
        return Client().post(path, body, content_type="application/json", **from_there).status_code

    for n in range(10):
        guess(wrong(bobs.code()), n)
    return guess(bobs.code(), 99)


def alone(user: User) -> bool:
    """A password would be enough."""
    return False


@attack(
    6,
    "a session whose password was right and whose code is missing: pages, the admin, the API",
    "to the sign-in, 401",
    control="the first half of a sign-in is a note in a session of nobody",
    without=patched("accounts.models.User.needs_factor", property(alone)),
    held=({302}, 401),
    fallen=({200}, 200),
    known_as="ASVS 6.3.3",
)
def test_06_half_signed_in(bobs):
    client = Client()
    give_password(client, path="/admin/login/")
    pages = {client.get(path).status_code for path in PAGES}
    return pages, client.get("/api/v1/auth/me").status_code


@attack(
    6,
    "a password alone is sent for tokens",
    "401 without a token",
    control="a program gives password and code in one",
    without=patched("accounts.door.require_code", never_locked),
    held=(401, False),
    fallen=(200, True),
)
def test_06_a_token_for_half(bobs):
    answer = token(Client())
    return answer.status_code, "access" in answer.json()


@attack(
    4,
    "a session that an attacker began is half signed in with; the attacker goes on with it",
    "another session",
    control="the first half too gives the session a new id",
    without=patched("django.contrib.sessions.backends.db.SessionStore.cycle_key", never_locked),
    held=LOGIN,
    fallen=None,
)
def test_04_a_planted_session_gets_no_half(bobs):
    victim, thief = Client(), Client()
    session = victim.session
    session["planted"] = True
    session.save()
    thief.cookies[live.SESSION_COOKIE_NAME] = session.session_key
    give_password(victim)
    return thief.get(CODE).headers.get("Location")


@attack(
    12,
    "a link to the sign-in that leads elsewhere after the code",
    "to our own page",
    control="only addresses of ours are noted with the first half",
    without=patched("django.contrib.auth.views.url_has_allowed_host_and_scheme", lambda *given, **more: True),
    held="/",
    fallen="https://evil.example/",
)
def test_12_an_open_redirect_after_the_code(bobs):
    client = Client()
    give_password(client, to="https://evil.example/")
    return give_code(client, bobs.code())["Location"]


@pytest.mark.django_db(transaction=True)
@attack(
    23,
    "a socket with a session that is half signed in",
    "closed with 4401",
    control="the first half of a sign-in is a note in a session of nobody",
    without=patched("accounts.models.User.needs_factor", property(alone)),
    held="4401",
    fallen="open",
)
async def test_23_a_socket_of_half(alice, connect):  # noqa: F811
    def half() -> Client:
        phone_of(alice)
        client = Client()
        give_password(client, "alice")
        return client

    return await first_word(connect(await sync_to_async(half)()))
