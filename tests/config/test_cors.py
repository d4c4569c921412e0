"""Pages of other origins call the API where a setting says so, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from config import env
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

ORIGIN = "https://agents.example.com"
ME = "/api/v1/auth/me"
ALLOW = "Access-Control-Allow-Origin"


def preflight(client: Client, path: str, origin: str = ORIGIN) -> Any:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key,authorization,last-event-id,x-auth-scheme",
    }
    return client.options(path, headers=asked)


def test_no_other_origin_may_by_default(client: Client) -> None:
    assert ALLOW not in preflight(client, ME)
    assert ALLOW not in client.get(ME, headers={"Origin": ORIGIN})


@pytest.fixture
def allowed(settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]


def test_an_origin_that_is_named_may_send_any_header(allowed: None, client: Client) -> None:
    response = preflight(client, ME)

    assert (response.status_code, response[ALLOW]) == (200, ORIGIN)
    # "*" means every header but Authorization, which has to be named.
    assert response["Access-Control-Allow-Headers"] == "*, authorization"
    assert "Access-Control-Allow-Credentials" not in response


def test_it_reads_a_refusal_and_the_headers_clients_need(allowed: None, client: Client) -> None:
    response = client.get(ME, headers={"Origin": ORIGIN})

    assert (response.status_code, response[ALLOW]) == (401, ORIGIN)
    exposed = response["Access-Control-Expose-Headers"].split(", ")
    assert {"Content-Location", "Location", "X-Pagination-Total", "X-Pagination-Next"} <= set(exposed)


def test_another_origin_may_not(allowed: None, client: Client) -> None:
    for origin in ("https://evil.example", f"{ORIGIN}.evil.example", "http://agents.example.com", "null"):
        assert ALLOW not in preflight(client, ME, origin)


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/admin/", "/metrics", "/apiary"])
def test_pages_stay_closed(allowed: None, client: Client, path: str) -> None:
    assert ALLOW not in preflight(client, path)
    assert ALLOW not in client.get(path, headers={"Origin": ORIGIN})


@pytest.mark.parametrize(
    "value",
    ["*", "https://*.example.com", "example.com", "https://example.com/", "ftp://example.com", "null"],
)
def test_what_is_no_origin_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("COUNTERSIGN_CORS_ORIGINS", f"{ORIGIN},{value}")

    with pytest.raises(ImproperlyConfigured, match="COUNTERSIGN_CORS_ORIGINS"):
        env.origins("COUNTERSIGN_CORS_ORIGINS")


@pytest.mark.parametrize(
    ("value", "read"), [("off", ""), ("OFF", ""), ("5 per minute", "5 per minute"), ("", "9 per hour")]
)
def test_a_rate_is_read(monkeypatch: pytest.MonkeyPatch, value: str, read: str) -> None:
    if value:
        monkeypatch.setenv("COUNTERSIGN_API_USER_RATE", value)

    assert env.rate("COUNTERSIGN_API_USER_RATE", "9 per hour") == read


@pytest.mark.parametrize("value", ["often", "5", "5 per fortnight", "0 per minute", "-1 per minute"])
def test_what_is_no_rate_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("COUNTERSIGN_API_USER_RATE", value)

    with pytest.raises(ImproperlyConfigured, match="COUNTERSIGN_API_USER_RATE"):
        env.rate("COUNTERSIGN_API_USER_RATE", "9 per hour")
