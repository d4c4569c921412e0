"""Limits, counted in a real Redis; each test has people, and so counts, of its own."""

from __future__ import annotations

import itertools
import logging
import math
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from accounts import keys
from accounts.models import User
from accounts.scopes import Scope
from config import rate_limits
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings
from redis import Redis
from runtime.redis_client import WaitOnce, redis_client

from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db

ME, TOKEN, LOGIN = "/api/v1/auth/me", "/api/v1/auth/token", "/accounts/login/"

_addresses = (f"198.51.100.{n}" for n in itertools.count(1))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Rolled back with its test, a person's number is another's later."""
    yield
    for key in redis_client().scan_iter("limits:*"):
        redis_client().delete(key)


@pytest.fixture
def address() -> str:
    return next(_addresses)


def new_key(owner: User) -> dict[str, str]:
    return {"x-api-key": keys.create_key(owner, "test", [Scope.CHAT], timedelta(days=1))[1]}


def statuses(client: Client, times: int, **kwargs: Any) -> list[int]:
    return [client.get(ME, **kwargs).status_code for _ in range(times)]


def test_by_default_a_demo_never_meets_them(client: Client, alice: User) -> None:
    assert set(statuses(client, 100, headers=new_key(alice))) == {200}


def test_every_answer_says_how_it_stands(client: Client, alice: User, settings: Settings) -> None:
    settings.API_USER_RATE = "3 per minute"
    headers = new_key(alice)

    first, second = client.get(ME, headers=headers), client.get(ME, headers=headers)

    assert (first["RateLimit-Limit"], first["RateLimit-Remaining"]) == ("3", "2")
    assert second["RateLimit-Remaining"] == "1"
    assert 0 < int(second["RateLimit-Reset"]) <= 60
    assert "Retry-After" not in second


def test_past_the_limit_it_says_when_to_come_back(client: Client, alice: User, settings: Settings) -> None:
    settings.API_USER_RATE = "2 per minute"
    headers = new_key(alice)
    statuses(client, 2, headers=headers)

    response = client.get(ME, headers=headers)

    assert response.status_code == 429
    assert (response["RateLimit-Remaining"], response["Retry-After"]) == ("0", response["RateLimit-Reset"])
    assert 0 < int(response["Retry-After"]) <= 60
    assert response["Retry-After"] in response.json()["detail"]


def test_a_person_is_one_by_whatever_way(
    client: Client, alice: User, carol: User, signed_in: Callable[[User], Client], settings: Settings
) -> None:
    settings.API_USER_RATE = "2 per minute"
    statuses(client, 1, headers=new_key(alice))
    statuses(signed_in(alice), 1)

    assert statuses(client, 1, headers=new_key(alice)) == [429]
    assert statuses(client, 1, headers=new_key(carol)) == [200]


def test_a_key_has_a_limit_of_its_own(client: Client, alice: User, settings: Settings) -> None:
    settings.API_KEY_RATE = "2 per minute"
    busy, other = new_key(alice), new_key(alice)

    assert statuses(client, 3, headers=busy) == [200, 200, 429]
    assert statuses(client, 1, headers=other) == [200]


def test_an_address_has_one_before_anybody_is_looked_up(
    client: Client,
    alice: User,
    settings: Settings,
    address: str,
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    settings.API_ADDRESS_RATE = "2 per minute"
    headers = new_key(alice)
    statuses(client, 2, REMOTE_ADDR=address)

    with django_assert_num_queries(0):
        assert statuses(client, 1, REMOTE_ADDR=address, headers=headers) == [429]
    assert statuses(client, 1, REMOTE_ADDR=next(_addresses), headers=headers) == [200]


def test_a_network_of_ipv6_is_one_address(client: Client, settings: Settings) -> None:
    settings.API_ADDRESS_RATE = "2 per minute"
    found = [client.get(ME, REMOTE_ADDR=f"2001:db8:1:2::{n}").status_code for n in range(1, 4)]

    assert found == [401, 401, 429]
    assert client.get(ME, REMOTE_ADDR="2001:db8:1:3::1").status_code == 401


def test_off_is_off(client: Client, alice: User, settings: Settings) -> None:
    settings.API_USER_RATE = settings.API_KEY_RATE = settings.API_ADDRESS_RATE = ""

    response = client.get(ME, headers=new_key(alice))

    assert response.status_code == 200
    assert "RateLimit-Limit" not in response


def test_pages_are_not_counted(signed_in: Callable[[User], Client], alice: User, settings: Settings) -> None:
    settings.API_USER_RATE = settings.API_ADDRESS_RATE = "1 per minute"
    browser = signed_in(alice)

    assert [browser.get("/").status_code for _ in range(3)] == [200] * 3


# Redis away


def nobody_listens() -> int:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        found: int = port.getsockname()[1]
        return found


@pytest.fixture
def redis_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gone = Redis(port=nobody_listens(), retry=WaitOnce())
    monkeypatch.setattr(rate_limits, "redis_client", lambda: gone)
    monkeypatch.setattr(rate_limits, "_said_at", -math.inf)
    rate_limits._limiter.cache_clear()
    yield
    rate_limits._limiter.cache_clear()


def test_without_redis_everybody_is_let_through_and_it_is_said_once(
    redis_away: None, client: Client, alice: User, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.API_USER_RATE = "1 per minute"

    with caplog.at_level(logging.WARNING, "config.rate_limits"):
        assert statuses(client, 3, headers=new_key(alice)) == [200] * 3

    assert [record.__dict__["action"] for record in caplog.records] == ["rate_limits_away"]


def test_without_redis_one_signs_in(
    redis_away: None, client: Client, alice: User, settings: Settings
) -> None:
    settings.SIGN_IN_RATE = "1 per minute"
    wrong = {"username": "alice", "password": "wrong"}

    assert [client.post(LOGIN, wrong).status_code for _ in range(2)] == [200, 200]
    assert client.post(LOGIN, {**wrong, "password": PASSWORD}).status_code == 302


# Wrong passwords from one address


def wrong_at(client: Client, where: str, name: str, **extra: Any) -> HttpResponse:
    data = {"username": name, "password": "wrong"}
    kind = {"content_type": "application/json"} if where == TOKEN else {}
    return client.post(where, data, **kind, **extra)  # type: ignore[arg-type]


@pytest.mark.parametrize(("door", "refusal"), [(LOGIN, 200), ("/admin/login/", 200), (TOKEN, 401)])
def test_fifty_names_with_a_wrong_password_each_are_too_many(
    client: Client, settings: Settings, address: str, door: str, refusal: int
) -> None:
    settings.SIGN_IN_RATE = "30 per 5 minutes"

    found = [wrong_at(client, door, f"user{n}", REMOTE_ADDR=address).status_code for n in range(50)]

    assert found == [refusal] * 30 + [429] * 20


def test_it_is_the_same_count_at_every_door(
    client: Client, alice: User, settings: Settings, address: str
) -> None:
    settings.SIGN_IN_RATE = "2 per 5 minutes"
    wrong_at(client, TOKEN, "a", REMOTE_ADDR=address)
    wrong_at(client, "/admin/login/", "b", REMOTE_ADDR=address)

    page = client.post(LOGIN, {"username": "alice", "password": PASSWORD}, REMOTE_ADDR=address)

    assert page.status_code == 429
    assert b"Too many wrong passwords came from your network" in page.content
    assert 0 < int(page["Retry-After"]) <= 300
    elsewhere = next(_addresses)
    good = client.post(LOGIN, {"username": "alice", "password": PASSWORD}, REMOTE_ADDR=elsewhere)
    assert good.status_code == 302


def test_right_passwords_are_not_counted(
    client: Client, alice: User, settings: Settings, address: str
) -> None:
    settings.SIGN_IN_RATE = "1 per 5 minutes"
    right = {"username": "alice", "password": PASSWORD}

    found = [Client().post(LOGIN, right, REMOTE_ADDR=address).status_code for _ in range(3)]

    assert found == [302] * 3


def test_the_page_itself_stays(client: Client, settings: Settings, address: str) -> None:
    settings.SIGN_IN_RATE = "1 per 5 minutes"
    wrong_at(client, LOGIN, "a", REMOTE_ADDR=address)

    assert client.get(LOGIN, REMOTE_ADDR=address).status_code == 200


def test_a_forged_header_makes_no_new_address(client: Client, settings: Settings, address: str) -> None:
    settings.SIGN_IN_RATE = "2 per 5 minutes"

    found = [
        wrong_at(client, TOKEN, f"u{n}", REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR=f"203.0.113.{n}")
        for n in range(3)
    ]

    assert [answer.status_code for answer in found] == [401, 401, 429]


def test_behind_a_trusted_proxy_whom_it_saw_counts(client: Client, settings: Settings, address: str) -> None:
    settings.SIGN_IN_RATE = "2 per 5 minutes"
    settings.TRUSTED_PROXIES = 1
    attacker, other = next(_addresses), next(_addresses)

    def tried(name: str, forwarded_for: str) -> int:
        extra = {"REMOTE_ADDR": address, "HTTP_X_FORWARDED_FOR": forwarded_for}
        return wrong_at(client, TOKEN, name, **extra).status_code

    # What stands further left the attacker wrote.
    assert [tried(f"u{n}", f"203.0.113.{n}, {attacker}") for n in range(3)] == [401, 401, 429]
    assert tried("v", other) == 401


@pytest.mark.parametrize(
    ("count", "header", "seen"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (2, "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),
        (1, "<script>", "192.0.2.1"),
        (1, "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_address_that_all_others_believe(settings: Settings, count: int, header: str, seen: str) -> None:
    from config.middleware import true_address

    settings.TRUSTED_PROXIES = count
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=header)

    true_address(lambda request: HttpResponse())(request)

    assert request.META["REMOTE_ADDR"] == seen


# Streams


def test_a_stream_keeps_no_connection_of_the_pool(
    transactional_db: None, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import connection

    request = RequestFactory().get(ME, headers=new_key(alice))

    def view(request: HttpRequest) -> Any:
        assert connection.connection is not None
        return StreamingHttpResponse(iter([b"x"]))

    rate_limits.rate_limits(view)(request)

    assert connection.connection is None
