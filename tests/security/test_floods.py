"""Attacks 20, 96 and 100: floods, against a web process of its own. What is counted is answers and memory, not time."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.security.registry import attack
from tests.security.without import patched
from tests.support.product import Web

pytestmark = pytest.mark.django_db(transaction=True)

CONSTANTS = ""


@contextmanager
def serving(**env: str) -> Iterator[Web]:
    web = Web(CONSTANTS=CONSTANTS, **env)
    web.start()
    try:
        yield web
    finally:
        web.kill()


# Attack 20

HALVES = [
    b"",
    b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\na",
]


def half_open(web: Web, number: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", web.port), timeout=10)
    connection.sendall(HALVES[number % len(HALVES)])
    return connection


def is_answered(web: Web) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", web.port), timeout=5) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b" 200 " in connection.recv(100)
    return False


def is_held(connection: socket.socket) -> bool:
    """Whether the server still waits for the rest."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@attack(
    20,
    "a thousand connections that never end their requests, to a process that may have 900",
    "others are answered, and no more than 500 of these are kept",
    control="the oldest request that has not come whole makes way",
    without=patched("tests.security.test_floods.CONSTANTS", "config.unfinished.AT_MOST=1e9"),
    held=lambda outcome: outcome[0] == 5 and outcome[1] <= 500,
    fallen=lambda outcome: outcome[0] == 0 and outcome[1] > 600,
)
def test_20_a_thousand_half_open_requests():
    with serving() as web, ExitStack() as stack:
        resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE, (900, 900))
        opened = []
        for number in range(1000):
            with suppress(OSError):
                opened.append(stack.enter_context(half_open(web, number)))
        answered = sum(is_answered(web) for _ in range(5))
        return answered, sum(is_held(connection) for connection in opened)


@attack(
    20,
    "a request whose head comes byte by byte",
    "dropped after its time",
    control="a time limit for all of a request, which no byte begins anew",
    without=patched("tests.security.test_floods.CONSTANTS", "config.unfinished.READ_WITHIN=1e9"),
    held=True,
    fallen=False,
)
def test_20_byte_by_byte(monkeypatch):
    if not CONSTANTS:
        monkeypatch.setattr("tests.security.test_floods.CONSTANTS", "config.unfinished.READ_WITHIN=1")
    with serving() as web, half_open(web, 1) as connection:
        for _ in range(25):
            with suppress(OSError):
                connection.sendall(b"a")
            connection.settimeout(0.2)
            try:
                if connection.recv(1) == b"":
                    return True
            except TimeoutError:
                continue
            except OSError:
                return True
    return False
