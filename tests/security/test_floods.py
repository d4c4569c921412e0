"""Attacks 20, 96 and 100: floods, against a web process of its own. What is counted is answers and memory, not time."""

from __future__ import annotations

import re
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.security.registry import attack
from tests.security.without import patched
from tests.support.product import Web

pytestmark = pytest.mark.django_db(transaction=True)

CONSTANTS = REMOVAL = ""
MB = 1024 * 1024


@contextmanager
def serving(**env: str) -> Iterator[Web]:
    web = Web(**{"CONSTANTS": CONSTANTS, "REMOVAL": REMOVAL, **env})
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


# Attack 96

DOWNLOAD = "/admin/runtime/toolcall/export/jsonl/"
ROWS, RESULT = 30, 200_000
ANY_NUMBER = "apps.observability.downloads.EACH=1e9 apps.observability.downloads.AT_ONCE=1e9"


def tell_much(worker, rows: int) -> None:
    run = worker.begin()
    for _ in range(rows):
        worker.call(run, "done", result="x" * RESULT)


def resident(web: Web) -> int:
    status = Path(f"/proc/{web.process.pid}/status").read_text()
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+)", status)
    return int(kilobytes) * 1024


def ask_for_download(web: Web, session: str) -> socket.socket:
    """Has room for little that it does not read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", web.port))
    head = f"GET {DOWNLOAD} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={session}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


@attack(
    96,
    "a hundred downloads of a long record at once, by one person",
    "two are served, the others told to come again: 429 with Retry-After",
    control="a limit of downloads at once, for each person and each process",
    without=patched("tests.security.test_floods.CONSTANTS", ANY_NUMBER),
    held=lambda outcome: set(outcome[0]) == {200, 429} and outcome[0][429] >= 90 and outcome[1],
    fallen=lambda outcome: outcome[0] == {200: 100},
    known_as="LLM10",
)
def test_96_a_hundred_downloads(worker, dave, signed_in):
    tell_much(worker, 10)
    session = signed_in(dave).cookies["sessionid"].value
    with serving() as web, ExitStack() as stack:
        asked = [stack.enter_context(ask_for_download(web, session)) for _ in range(100)]
        heads = [connection.recv(2000).decode(errors="replace") for connection in asked]
    statuses = Counter(int(head.split()[1]) for head in heads)
    return dict(statuses), all("Retry-After: 10" in head for head in heads if " 429 " in head[:20])


@attack(
    96,
    "forty clients have six megabytes sent and do not read them",
    "they wait in the database: the process grows by less than 100 MB, and answers",
    control="what is sent of a long answer waits for its reader",
    without=patched("tests.security.test_floods.REMOVAL", "flow"),
    held=lambda outcome: outcome[0] < 100 * MB and outcome[1],
    fallen=lambda outcome: outcome[0] > 150 * MB,
    known_as="LLM10",
)
def test_96_many_that_do_not_read(worker, dave, signed_in):
    tell_much(worker, ROWS)
    session = signed_in(dave).cookies["sessionid"].value
    with serving(CONSTANTS=ANY_NUMBER) as web, ExitStack() as stack:
        before = resident(web)
        asked = [stack.enter_context(ask_for_download(web, session)) for _ in range(40)]
        heads = [connection.recv(100) for connection in asked]
        until_it_rests(web)
        return resident(web) - before, is_answered(web) and all(b" 200 " in head for head in heads)


def until_it_rests(web: Web) -> None:
    """It has sent what it will: no more memory is taken for two seconds."""
    highest, since = resident(web), time.monotonic()
    while time.monotonic() - since < 2:
        time.sleep(0.1)
        if (now := resident(web)) > highest + MB:
            highest, since = now, time.monotonic()
