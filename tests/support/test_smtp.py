"""The mail server of the tests, with a client that goes away."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.support.processes import until
from tests.support.smtp import MailServer


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with MailServer() as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
            line.sendall(b"DATA\r\nSubject: half a ma")
            heard = b""
            while not heard.endswith(b"354 go on\r\n"):
                heard += line.recv(100) or pytest.fail("it hung up")
        until(lambda: set(threading.enumerate()) - before <= {server._thread}, seconds=5)

        assert server.messages == []
