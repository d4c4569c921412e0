"""Attacks 1 to 21: signing in, sessions, and what HTTP carries."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from unittest import mock

import pytest
from accounts.models import User
from django.conf import settings as live
from django.test import Client
from django.urls import reverse

from tests.approvals.conftest import decide_url, fresh
from tests.chat.test_sign_in import sign_in
from tests.conftest import PASSWORD
from tests.security.registry import attack
from tests.security.without import middleware, patched, setting
from tests.support.programs import Program, key_of

pytestmark = pytest.mark.django_db

LOGIN, ME = "/accounts/login/", "/api/v1/auth/me"


def nothing(*args: Any, **kwargs: Any) -> None:
    """A check that never objects."""


@attack(
    1,
    "five wrong passwords, then the right one: the sign-in and the admin's",
    "429, the right one too",
    control="an account is locked for a quarter of an hour",
    without=setting(AXES_FAILURE_LIMIT=1000),
    held={LOGIN: 429, "/admin/login/": 429},
    fallen={LOGIN: 302, "/admin/login/": 302},
)
def test_01_passwords_are_tried(bob, person):
    found = {}
    for path, name in ((LOGIN, "bob"), ("/admin/login/", "ben")):
        if name == "ben":
            person("ben", "Approvers", staff=True)
        client = Client()
        for _ in range(5):
            client.post(path, {"username": name, "password": "wrong"})
        found[path] = client.post(path, {"username": name, "password": PASSWORD}).status_code
    return found


@attack(
    2,
    "one wrong password for each of forty accounts, from one address",
    "429 from the 31st on",
    control="a limit of wrong passwords for each address",
    without=patched("config.rate_limits._wrong_passwords", nothing),
    held={200: 30, 429: 10},
    fallen={200: 40},
)
def test_02_one_password_for_many(db, settings):
    settings.SIGN_IN_RATE = "30 per 5 minutes"
    client = Client()
    tries = [client.post(LOGIN, {"username": f"user{n}", "password": "Spring2026"}) for n in range(40)]
    return dict(Counter(answer.status_code for answer in tries))


@attack(
    3,
    "each request names another address in X-Forwarded-For",
    "counted as one address",
    control="only as many hops are believed as there are proxies of ours",
    without=setting(TRUSTED_PROXIES=1),
    held={401: 5, 429: 5},
    fallen={401: 10},
)
def test_03_forged_addresses(client, settings):
    settings.API_ADDRESS_RATE = "5 per minute"
    tries = [client.get(ME, headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(10)]
    return dict(Counter(answer.status_code for answer in tries))


@attack(
    4,
    "a session that an attacker began is signed in with",
    "another session",
    control="a session gets a new id at the sign-in",
    without=patched("django.contrib.sessions.backends.db.SessionStore.cycle_key", nothing),
    held=False,
    fallen=True,
)
def test_04_a_session_known_before(alice):
    client = Client()
    session = client.session
    session["planted"] = True
    session.save()
    planted = session.session_key
    sign_in(client)
    return client.session.session_key == planted


def with_cookie(value: str) -> Client:
    client = Client()
    client.cookies[live.SESSION_COOKIE_NAME] = value
    return client


@attack(
    5,
    "the cookie of a session that was signed out",
    "302 to the sign-in",
    control="signing out deletes the session",
    without=patched("django.contrib.sessions.backends.db.SessionStore.flush", nothing),
    held=302,
    fallen=200,
)
def test_05_a_cookie_after_the_end(alice):
    client = Client()
    sign_in(client)
    cookie = client.cookies[live.SESSION_COOKIE_NAME].value
    client.post(reverse("logout"))
    return with_cookie(cookie).get("/").status_code


@attack(
    6,
    "a session of somebody who was deactivated meanwhile",
    "302 to the sign-in",
    control="each request asks whether the account is active",
    without=patched("django.contrib.auth.backends.ModelBackend.user_can_authenticate", lambda *given: True),
    held=302,
    fallen=lambda status: status != 302,
)
def test_06_a_deactivated_account(alice, signed_in):
    client = signed_in(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    return client.get("/").status_code


@attack(
    7,
    "a session from before the password was changed",
    "302 to the sign-in",
    control="a session is bound to the password it was begun with",
    without=patched("django.contrib.auth.constant_time_compare", lambda *given: True),
    held=302,
    fallen=200,
)
def test_07_a_session_from_before(alice, signed_in):
    stolen = signed_in(alice)
    assert stolen.get("/").status_code == 200
    alice.set_password("another one 12")
    alice.save()
    return stolen.get("/").status_code


def strict(user: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@attack(
    8,
    "a decision posted without a CSRF token",
    "403",
    control="Django's CSRF check",
    without=patched("django.middleware.csrf.CsrfViewMiddleware.process_view", nothing),
    held=(403, "pending"),
    fallen=(302, "approved"),
)
def test_08_a_decision_without_a_csrf_token(alice, bob, waiting):
    request = waiting(alice)
    data = {"decision": "approve", "digest": request.tool_call.args_digest}
    answer = strict(bob).post(decide_url(request), data)
    return answer.status_code, fresh(request).status


@attack(
    8,
    "a decision through the API with a browser's session, without a CSRF token",
    "403",
    control="the door of the API asks sessions for the token",
    without=patched("accounts.callers._Csrf.refusal_of", lambda *given: False),
    held=(403, "pending"),
    fallen=(200, "approved"),
)
def test_08_the_api_by_session_without_a_token(alice, bob, waiting):
    request = waiting(alice)
    body = {"decision": "approve", "digest": request.tool_call.args_digest}
    url = f"/api/v1/approvals/{request.pk}/decide"
    answer = strict(bob).post(url, body, content_type="application/json")
    return answer.status_code, fresh(request).status


@attack(
    9,
    "a decision posted by a page of another origin that has the token",
    "403",
    control="the Origin has to be ours",
    without=patched("django.middleware.csrf.CsrfViewMiddleware._origin_verified", lambda *given: True),
    held=(403, "pending"),
    fallen=(302, "approved"),
)
def test_09_a_decision_from_another_origin(alice, bob, waiting):
    request, client = waiting(alice), strict(bob)
    client.get("/accounts/password/")
    token = client.cookies["csrftoken"].value
    data = {
        "decision": "approve",
        "digest": request.tool_call.args_digest,
        "csrfmiddlewaretoken": token,
    }
    answer = client.post(decide_url(request), data, headers={"Origin": "https://evil.example"})
    return answer.status_code, fresh(request).status


@attack(
    11,
    "a request with a host that is not ours",
    "400",
    control="the list of hosts",
    without=setting(ALLOWED_HOSTS=["*"]),
    held=400,
    fallen=200,
)
def test_11_another_host(db):
    return Client(raise_request_exception=False).get(LOGIN, headers={"Host": "evil.example"}).status_code


@attack(
    12,
    "a link to the sign-in that leads elsewhere after it",
    "to our own page",
    control="only addresses of ours are gone on to",
    without=patched("django.contrib.auth.views.url_has_allowed_host_and_scheme", lambda *given, **more: True),
    held={"/"},
    fallen={"//evil.example", "https://evil.example/", "/%5Cevil.example"},
)
def test_12_an_open_redirect(alice):
    found = set()
    for target in ("//evil.example", "https://evil.example/", "/\\evil.example"):
        data = {"username": "alice", "password": PASSWORD, "next": target}
        found.add(Client().post(LOGIN, data)["Location"])
    return found


PAGES = [LOGIN, "/", "/accounts/keys/", "/admin/", "/admin/approvals/approvalrequest/", "/api/v1/docs"]


@attack(
    13,
    "a page of ours in a frame of another",
    "no page may be framed",
    control="frame-ancestors 'none' and X-Frame-Options",
    without=middleware(
        "csp.middleware.CSPMiddleware", "django.middleware.clickjacking.XFrameOptionsMiddleware"
    ),
    held=[],
    fallen=PAGES,
)
def test_13_a_page_in_a_frame(admin, signed_in):
    def may_be_framed(answer: Any) -> bool:
        policy = answer.headers.get("Content-Security-Policy", "")
        return "frame-ancestors 'none'" not in policy or answer.headers.get("X-Frame-Options") != "DENY"

    return [path for path in PAGES if may_be_framed(signed_in(admin).get(path))]


WANTED = {
    "Content-Security-Policy": [
        "default-src 'none'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ],
    "X-Content-Type-Options": ["nosniff"],
    "Cross-Origin-Opener-Policy": ["same-origin"],
    "Referrer-Policy": ["same-origin"],
}


def lacking(answer: Any) -> set[str]:
    policy = answer.headers.get("Content-Security-Policy", "")
    found = {
        name
        for name, values in WANTED.items()
        if any(value not in answer.headers.get(name, "") for value in values)
    }
    return found | ({"unsafe"} if "unsafe" in policy else set())


@attack(
    14,
    "a page without the headers that hold browsers back",
    "each page has them, and none allows inline scripts",
    control="the middleware that sets them",
    without=middleware("csp.middleware.CSPMiddleware", "django.middleware.security.SecurityMiddleware"),
    held=set(),
    fallen=set(WANTED),
    known_as="3.4.4, 3.4.5, 3.4.8",
)
def test_14_headers_of_pages(admin, signed_in):
    client = signed_in(admin)
    return set().union(*(lacking(client.get(path)) for path in PAGES))


@attack(
    17,
    "an error of ours that holds a secret is shown",
    "500 without a word of it",
    control="no debug pages",
    without=setting(DEBUG=True),
    held=(500, False),
    fallen=(500, True),
    known_as="ASVS 16.5.1",
)
def test_17_an_error_page(alice, signed_in):
    client = signed_in(alice)
    client.raise_request_exception = False
    with mock.patch("apps.chat.views.threads.render", side_effect=RuntimeError("sk-CANARY in the way")):
        answer = client.get("/")
    text = answer.content.decode()
    return answer.status_code, "sk-CANARY" in text or "Traceback" in text


@attack(
    18,
    "TRACE, and methods that nobody has heard of",
    "405",
    control="a list of methods",
    without=middleware("config.middleware.refuse_unreadable"),
    held={405},
    fallen=lambda codes: 200 in codes,
)
def test_18_odd_methods(admin, signed_in):
    client = signed_in(admin)
    return {client.generic(method, path).status_code for method in ("TRACE", "FOO") for path in PAGES}


@attack(
    21,
    "JSON that other parsers read differently: NaN, 1e400, a key twice, NUL, half a character, 10,000 levels",
    "422",
    control="a strict reading of JSON",
    without=patched("runtime.strict_json.loads", json.loads),
    held={422},
    fallen=lambda codes: codes != {422},
    known_as="2.2.1",
)
def test_21_json_that_is_none(alice, assistant):
    program = Program(key_of(alice))
    bodies = [
        b'{"topic": "a", "config": {"target_length": NaN}}',
        b'{"topic": "a", "config": {"target_length": 1e400}}',
        b'{"topic": "a", "topic": "b"}',
        b'{"topic": "a\\u0000"}',
        b'{"topic": "\\ud800"}',
        b'{"topic": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ]
    return {program.post("/tasks", body).status_code for body in bodies}


@attack(
    21,
    "a form of two thousand fields",
    "400",
    control="a limit of fields",
    without=setting(DATA_UPLOAD_MAX_NUMBER_FIELDS=None),
    held=400,
    fallen=200,
)
def test_21_a_form_of_many_fields(db):
    fields = {f"f{n}": "x" for n in range(2000)}
    return Client(raise_request_exception=False).post(LOGIN, fields).status_code


@attack(
    21,
    "NUL in a query, and a form in another character set",
    "400",
    control="what can't be read is refused first",
    without=middleware("config.middleware.refuse_unreadable"),
    held=[400, 400],
    fallen=lambda codes: codes != [400, 400],
)
def test_21_what_can_t_be_read(bob, signed_in):
    client = signed_in(bob)
    client.raise_request_exception = False
    form = "application/x-www-form-urlencoded; charset=rot13"
    return [
        client.get("/admin/approvals/approvalrequest/?tool=%00").status_code,
        client.generic("POST", "/theme/", b"theme=dark", form).status_code,
    ]
