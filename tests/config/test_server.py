"""The web process takes in no more of a body than Django would read."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from config.server import max_body_bytes
from runtime import events
from runtime.models import Thread
from runtime.redis_client import redis_client
from websockets.sync.client import ClientConnection, connect

from tests.support.product import Web
from tests.support.programs import key_of

pytestmark = pytest.mark.django_db(transaction=True)

MB = 1024 * 1024
TOO_MUCH = 50 * MB


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker: object) -> Iterator[Web]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        server = Web()
    server.start()
    yield server
    server.stop()


def resident(web: Web) -> int:
    status = Path(f"/proc/{web.process.pid}/status").read_text()
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+)", status)
    return int(kilobytes) * 1024


def post(web: Web, header: str, pieces: Iterator[bytes]) -> tuple[int, float]:
    """The answer's status, and the seconds until it came."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
        started = time.monotonic()
        connection.sendall(f"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # it has hung up; its answer is there to be read
        status = int(connection.recv(4096).split()[1])
        return status, time.monotonic() - started


def plain(size: int) -> Iterator[bytes]:
    for _ in range(size // MB):
        yield b"a" * MB


def chunked(size: int) -> Iterator[bytes]:
    for piece in plain(size):
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("header", "body"), [(f"Content-Length: {TOO_MUCH}", plain), ("Transfer-Encoding: chunked", chunked)]
)
def test_a_large_body_is_refused_and_costs_nothing(web: Web, header: str, body: object) -> None:
    before = resident(web)

    status, seconds = post(web, header, body(TOO_MUCH))  # type: ignore[operator]

    assert status == 413
    assert seconds < 5
    assert resident(web) - before < 20 * MB
    assert web._is_live()


def test_a_refused_sender_is_told_before_it_sends(web: Web) -> None:
    header = f"Content-Length: {max_body_bytes() + 1}\r\nExpect: 100-continue"

    assert post(web, header, iter(()))[0] == 413


@pytest.mark.parametrize("header", ["Content-Length: 1048576", "Transfer-Encoding: chunked"])
def test_what_fits_reaches_django(web: Web, header: str) -> None:
    body = chunked(MB) if "chunked" in header else plain(MB)

    assert post(web, header, body)[0] == 403  # no CSRF token


TOKENS, SIZE, READERS = 16_000, 2500, 8


@contextmanager
def listener(web: Web, key: str, thread: Thread) -> Iterator[ClientConnection]:
    """Listens to the thread, and has room for little that it does not read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    raw.connect(("127.0.0.1", web.port))
    url = f"ws://127.0.0.1:{web.port}/ws/v1/"
    arguments: Any = {"compression": None, "max_queue": 1, "proxy": None, "close_timeout": 0.1}
    with connect(url, sock=raw, additional_headers={"x-api-key": key}, **arguments) as found:
        found.send(json.dumps({"type": "resume", "session_id": str(thread.pk), "after": "0"}))
        assert json.loads(found.recv(10))["type"] == "accepted"
        yield found


def test_readers_who_do_not_read_cost_little_and_miss_nothing(web: Web, thread: Thread) -> None:
    key, run_id = key_of(thread.owner), uuid4()
    with ExitStack() as stack:
        readers = [stack.enter_context(listener(web, key, thread)) for _ in range(READERS)]
        before = resident(web)

        for number in range(TOKENS):
            events.announce(thread.pk, "token", run_id, {"key": "a", "text": f"{number:<{SIZE}}"})
        time.sleep(2)

        grown = resident(web) - before
        heard = [json.loads(readers[0].recv(10)) for _ in range(TOKENS)]
        for each in readers:
            each.socket.close()
    redis_client().flushdb()

    assert grown < READERS * TOKENS * SIZE / 4
    assert [int(frame["data"]["text"]) for frame in heard] == list(range(TOKENS))
