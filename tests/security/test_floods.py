"""Attacks 20, 96 and 100: floods, against a web process of its own. What is counted is answers and memory, not time."""

from __future__ import annotations

import http.client
import re
import resource
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from apps.observability import health, metrics, probes
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
    "they wait in the database: the process grows by less than 140 MB, and answers",
    control="what is sent of a long answer waits for its reader",
    without=patched("tests.security.test_floods.REMOVAL", "flow"),
    held=lambda outcome: outcome[0] < 140 * MB and outcome[1],
    fallen=lambda outcome: outcome[0] > 180 * MB,
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
        time.sleep(0.1)  # between two looks
        if (now := resident(web)) > highest + MB:
            highest, since = now, time.monotonic()


# Attack 100

FLOOD = 40  # callers at once


def at_once(work: Callable[[], Any]) -> list[Any]:
    together = threading.Barrier(FLOOD)

    def perform(_: int) -> Any:
        together.wait(30)
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(FLOOD) as pool:
        return list(pool.map(perform, range(FLOOD)))


def anew(check: health.Check) -> Any:
    return health._threads().submit(check._find)


@attack(
    100,
    "the state is asked for by forty at once, and again and again",
    "the database is asked once for all who wait",
    control="a part that is asked already is not asked again",
    without=patched("apps.observability.health.Check.ask", anew),
    held=lambda outcome: outcome[0] == FLOOD and outcome[1] <= 3,
    fallen=lambda outcome: outcome[1] == FLOOD,
)
def test_100_a_flood_of_probes(monkeypatch):
    asked = []

    def slow() -> str:
        asked.append(1)
        time.sleep(0.3)  # so that the others come while it is asked
        return probes.database()

    monkeypatch.setattr(health, "ESSENTIAL", (health.Check("database", slow, within=30),))
    answers = at_once(lambda: health.findings(health.ESSENTIAL)["database"].status)
    return answers.count("ok"), len(asked)


@attack(
    100,
    "the metrics are read by forty at once",
    "the database is read once",
    control="what was read is good for seconds",
    without=patched("apps.observability.metrics.KEEP", -1.0),
    held=(FLOOD, 1),
    fallen=(FLOOD, FLOOD),
)
def test_100_a_flood_of_scrapes(monkeypatch):
    read = []
    read_all = metrics._read_all
    monkeypatch.setattr(metrics, "_read_all", lambda: read.append(1) or read_all())
    metrics.COLLECTOR.forget()
    answers = at_once(metrics.exposition)
    return sum(b"agent_runs_active" in answer for answer in answers), len(read)


SIGN_IN_RATE = "10 per 5 minutes"
TRIES, THREADS = 24, 6


class Stranger:
    """Tries one password for many names."""

    def __init__(self, web: Web) -> None:
        self._web = web
        page = self._ask("GET", "/accounts/login/")
        self._cookie = page.headers["Set-Cookie"].split(";")[0]

    def _ask(self, method: str, path: str, body: str = "", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._web.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    def try_names(self) -> int:
        """How many tries were refused unread."""
        form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self._cookie}
        token = self._cookie.partition("=")[2]
        codes = []
        for n in range(TRIES // THREADS):
            name = f"somebody-{threading.get_ident()}-{n}"
            body = f"username={name}&password=guessed&csrfmiddlewaretoken={token}"
            codes.append(self._ask("POST", "/accounts/login/", body, **form).status)
        return codes.count(429)


def answered(web: Web, path: str, **headers: str) -> int:
    request = urllib.request.Request(f"{web.url}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@attack(
    100,
    "passwords are guessed by the hundred, as fast as they are answered",
    "those past the limit are refused before a password is looked at; health and metrics answer all the while",
    control="a limit of wrong passwords for each address",
    without=patched("tests.security.test_floods.SIGN_IN_RATE", "off"),
    held=lambda outcome: outcome[0] >= TRIES / 3 and outcome[1] == {200},
    fallen=(0, {200}),
)
def test_100_a_flood_of_sign_ins(empty_redis):
    env = {"COUNTERSIGN_SIGN_IN_RATE": SIGN_IN_RATE, "COUNTERSIGN_METRICS_TOKEN": "scraper"}
    with serving(**env) as web, ThreadPoolExecutor(THREADS) as pool:
        stranger = Stranger(web)
        tries = [pool.submit(stranger.try_names) for _ in range(THREADS)]
        statuses = set()
        while not all(each.done() for each in tries):
            statuses |= {
                answered(web, "/health/live"),
                answered(web, "/health/ready"),
                answered(web, "/metrics", Authorization="Bearer scraper"),
            }
        return sum(each.result() for each in tries), statuses
