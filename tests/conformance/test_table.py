"""What decides whether `make conformance` passes. The clients themselves are not run by `make test`."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conformance import __main__ as command
from tests.conformance import table
from tests.conformance.proxy import proxied

THREAD = "/api/langgraph/threads/0b0e1c56-0000-4000-8000-000000000000"
RESULTS = {"Python": {"wait": True, "store": True}, "JS": {"wait": True, "store": False, "useStream": True}}
SEEN = {"Python": [("GET", f"{THREAD}/state?subgraphs=true", 200)], "JS": [("POST", f"{THREAD}/copy", 409)]}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "compatibility.md"
    page.write_text(f"Before.\n\n{table.BEGIN}\n\nold\n\n{table.END}\n\nAfter.\n")
    monkeypatch.setattr(table, "PAGE", page)
    return page


def test_what_is_written_is_read_again(page: Path) -> None:
    table.write(table.render(RESULTS, SEEN))

    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert "| `GET /threads/{t}/state` | yes | – |" in text
    assert "/copy" not in text, "nobody answered it"
    assert table.said_before() == {
        ("Python", "wait"),
        ("Python", "store"),
        ("JS", "wait"),
        ("JS", "useStream"),
    }


def test_a_promise_that_is_broken_fails_and_stays_written(page: Path) -> None:
    assert command._judged(RESULTS, SEEN, is_whole=True) == 0, "that the store never worked is no news"
    written = page.read_text()

    worse = {**RESULTS, "Python": {"wait": False, "store": True}}
    assert command._judged(worse, SEEN, is_whole=True) == 1
    untried = {**RESULTS, "JS": {"wait": True}}
    assert command._judged(untried, SEEN, is_whole=True) == 1
    assert page.read_text() == written
    assert command._judged({"Python": RESULTS["Python"]}, SEEN, is_whole=False) == 0
    assert page.read_text() == written


def test_the_page_holds_a_table_of_ours() -> None:
    assert table.said_before(), "run `make conformance`"
    assert set(table.TITLES) >= {scenario for _client, scenario in table.said_before()}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{THREAD}/runs/0b0e1c56-0000-4000-8000-000000000000/stream", "/threads/{t}/runs/{r}/stream"),
        (f"{THREAD}/state/1f0e1c56-0000-6000-8000-000000000000", "/threads/{t}/state/{checkpoint}"),
        ("/api/langgraph/assistants/shop/schemas", "/assistants/{a}/schemas"),
        ("/api/langgraph/assistants/search", "/assistants/search"),
        ("/api/langgraph/store/items?namespace=a&key=b", "/store/items"),
    ],
)
def test_requests_are_told_by_their_route(path: str, name: str) -> None:
    assert table.endpoint("GET", path) == f"GET {name}"


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((Path(__file__).parent / "package-lock.json").read_text())

    assert lock["packages"]
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.send_response(201)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.wfile.write(b"x" * 10_000)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_proxy_notes_requests_and_cuts_what_asks_for_it(server: str) -> None:
    headers = {"X-Cut-After": "4000"}
    with proxied(server) as proxy:
        with urllib.request.urlopen(urllib.request.Request(f"{proxy.url}/a", headers=headers)) as answer:
            assert len(answer.read()) == 10_000
        asked = urllib.request.Request(f"{proxy.url}/a", b"", headers)
        # Reset or ended: both are what a network does.
        with pytest.raises((IncompleteRead, ConnectionResetError)), urllib.request.urlopen(asked) as answer:
            answer.read()
    assert proxy.seen == [("GET", "/a", 201), ("POST", "/a", 201)]
    assert proxy.cuts == 1
