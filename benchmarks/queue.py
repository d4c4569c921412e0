"""What the approvers' queue costs with few and with many requests that wait: its pages, and a decision."""

from __future__ import annotations

import argparse
import http.client
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import usage
from benchmarks.load import percentiles
from benchmarks.resume_latency import QUEUE, arguments
from benchmarks.stack import Person, Stack, hidden_field, instant_model, running

PAGES = {
    "my queue": QUEUE,
    "all waiting, page 2": f"{QUEUE}?mine=no&p=2",
    "by age": f"{QUEUE}?o=6",
    "a search": f"{QUEUE}?q=picture",
    "decided": f"{QUEUE}?status=decided",
}
ASKED_WITHIN = 60.0  # seconds
ASKED = """SELECT request.id FROM approvals_approvalrequest request
    JOIN runtime_toolcall call ON call.id = request.tool_call_id
    JOIN runtime_run run ON run.id = call.run_id
    WHERE request.status = 'pending' AND run.status = 'waiting' ORDER BY request.created_at LIMIT %s"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", default="50,5000", help="how many requests wait")
    parser.add_argument("--times", type=int, default=20, help="how often each is measured")


@dataclass(frozen=True)
class Measured:
    times: list[float]
    """Milliseconds of each."""
    cpu: float
    """Milliseconds of CPU that the web process took for one, whatever else the machine did meanwhile."""


def run(*, sizes: str, times: int) -> None:
    print(f"{times} times each, one after the other, one web process; ms p50 / p95 (of it CPU of the web)\n")
    measured = [(int(size), measure(int(size), times)) for size in sizes.split(",")]
    print("| | " + " | ".join(f"{size:,} waiting" for size, _ in measured) + " |")
    print("| --- |" + " ---: |" * len(measured))
    for name in measured[0][1]:
        print(f"| {name} | {' | '.join(cell(each[name]) for _, each in measured)} |")


def cell(measured: Measured) -> str:
    return " / ".join(f"{value:.0f}" for value in percentiles(measured.times)) + f" ({measured.cpu:.0f})"


def measure(size: int, times: int) -> dict[str, Measured]:
    """What each takes, by its name."""
    asks = {"COUNTERSIGN_USER_RUN_LIMIT": str(2 * times)}  # of one person, who asks for all of them at once
    with instant_model() as model, running(**model, **asks, COUNTERSIGN_WORKERS="1") as stack:
        waiting = stack.run("benchmarks.requests", "alice", str(size))
        alice, bob = Person(stack.base, "alice"), Person(stack.base, "bob")
        requests = ask(stack, alice, times + 1)
        if waiting < size or len(requests) <= times:
            raise RuntimeError(f"{waiting} requests were made, {len(requests)} by turns")
        page = f"{QUEUE}{requests[0]}/change/"
        pages = {**PAGES, "decision page": page}
        taken = {name: timed(stack, times, partial(get, bob, path)) for name, path in pages.items()}
        todo = iter([(request, form(bob, request)) for request in requests])
        taken["decision, its POST"] = timed(stack, times, lambda: decide(bob, *next(todo)))
    return taken


def timed(stack: Stack, times: int, do: Callable[[], None]) -> Measured:
    do()  # warms up
    web = stack.processes()["web"]
    before, taken = usage.cpu_seconds(web), []
    for _ in range(times):
        began = time.perf_counter()
        do()
        taken.append(1000 * (time.perf_counter() - began))
    return Measured(taken, 1000 * (usage.cpu_seconds(web) - before) / times)


def ask(stack: Stack, alice: Person, count: int) -> list[str]:
    """So many requests of real turns, each on a thread of its own, that go on once they are decided."""
    assistant = hidden_field(alice.get("/"), "assistant")
    for _ in range(count):
        alice.post("/threads/", assistant=assistant, text="refund 0.01 of order 1042")
    deadline = time.monotonic() + ASKED_WITHIN
    while len(found := stack.rows(ASKED, count)) < count and time.monotonic() < deadline:
        time.sleep(0.1)  # between two looks, until the deadline
    return [str(request) for (request,) in found]


def form(bob: Person, request: str) -> dict[str, str]:
    page = bob.get(f"{QUEUE}{request}/change/")
    return {"decision": "approve", "digest": hidden_field(page, "digest"), **arguments(page)}


def get(person: Person, path: str) -> None:
    answer(person, "GET", path, 200)


def decide(person: Person, request: str, fields: dict[str, str]) -> None:
    """The POST alone, and not the page it leads to."""
    token = {"csrfmiddlewaretoken": person.cookie("csrftoken")}
    answer(person, "POST", f"{QUEUE}{request}/decide/", 302, urllib.parse.urlencode({**fields, **token}))


def answer(person: Person, method: str, path: str, status: int, body: str = "") -> None:
    host = urllib.parse.urlsplit(person.base).netloc
    headers = {"Cookie": person.cookie_header(), "Content-Type": "application/x-www-form-urlencoded"}
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        response.read()
        if response.status != status:
            raise RuntimeError(f"{method} {path}: {response.status}")
    finally:
        connection.close()
