"""The door for sockets."""

from __future__ import annotations

from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from config.asgi import application
from config.sockets import is_our_origin

pytestmark = pytest.mark.django_db(transaction=True)

THREAD = "/ws/threads/6ba7b821-9dad-11d1-80b4-00c04fd430c8/"


def socket(path: str, *, origin: str | None, host: str = "127.0.0.1:8000") -> WebsocketCommunicator:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    return WebsocketCommunicator(application, path, headers)


@pytest.mark.parametrize("path", ["/ws/nope/", "/ws/threads/not-a-uuid/", "/ws/", "/", "/ws/approvals/x/"])
async def test_an_unknown_socket_is_closed_as_not_found(path: str) -> None:
    asked = socket(path, origin="http://127.0.0.1:8000")

    accepted, _ = await asked.connect()

    assert accepted
    assert await asked.receive_output() == {"type": "websocket.close", "code": 4404}


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:9999",
        "http://127.0.0.1",
        "http://localhost:8000",
        "http://evil.example:8000",
        "http://127.0.0.1:8000.evil.example",
        "http://127.0.0.1:99999999",
        "file://127.0.0.1:8000",
        "null",
        "",
        None,
    ],
)
async def test_a_foreign_page_gets_no_socket(origin: str | None) -> None:
    accepted, _ = await socket(THREAD, origin=origin).connect()

    assert not accepted


async def test_our_own_page_gets_a_socket() -> None:
    asked = socket(THREAD, origin="http://127.0.0.1:8000")

    accepted, _ = await asked.connect()

    assert accepted
    assert (await asked.receive_output())["code"] == 4401


def test_a_host_that_is_not_ours_is_no_measure() -> None:
    assert not is_our_origin("http://evil.example", "evil.example")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost", "localhost:80"),
        ("https://localhost", "localhost"),
        ("https://localhost:443", "localhost"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://LOCALHOST:8000", "localhost:8000"),
    ],
)
def test_a_default_port_may_be_left_out(origin: str, host: str) -> None:
    assert is_our_origin(origin, host)


def test_a_trusted_origin_gets_in(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://chat.example.com", "https://*.example.org"]

    assert is_our_origin("https://chat.example.com", "127.0.0.1:8000")
    assert not is_our_origin("https://chat.example.com:8443", "127.0.0.1:8000")
    assert not is_our_origin("http://chat.example.com", "127.0.0.1:8000")


def test_behind_a_tls_proxy_pages_are_https(settings: Any) -> None:
    settings.HTTPS = True

    assert is_our_origin("https://localhost", "localhost")
    assert not is_our_origin("http://localhost", "localhost")
