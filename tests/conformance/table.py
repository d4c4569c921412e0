"""What each client got done, as the tables of docs/compatibility.md; and what those said before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- conformance: written by `make conformance` -->", "<!-- /conformance -->"
WORKS, FAILS, UNTRIED = "yes", "**no**", "–"

Results = Mapping[str, Mapping[str, bool]]
"""Of each client, each scenario: whether it went through."""
Requests = Mapping[str, Iterable[tuple[str, str, int]]]
"""Of each client, (method, path, status)."""

TITLES = {
    "assistants": "search and read assistants, schemas, drawing",
    "versions": "make, change, go back, retire an assistant; whoever may not gets 403",
    "crons": "crons: make, find, pause, delete; a stranger gets nothing",
    "webhook": "`webhook`: the end of a run is told",
    "threads": "create, change, find by metadata, count, delete; a stranger gets nothing",
    "stream": "stream in every mode",
    "drop": "the connection is cut: the client reconnects, each event exactly once",
    "resume": "leave a stream, go on from an event's id, each event exactly once",
    "wait": "wait, join, list, delete a run",
    "interrupt": "an interrupt, answered in each of the three shapes",
    "withdraw": '`goto: "__end__"` withdraws what waits',
    "cancel": "cancel (interrupt, rollback, several, by disconnecting); busy and `reject`: 409",
    "states": "state, state at a checkpoint, history, update",
    "fork": "run from an older checkpoint, with input and without",
    "copies": "copy, prune",
    "stateless": "runs without a thread, batch",
    "following": "follow a thread across its runs",
    "store": "store: put, get, search, namespaces, delete; a stranger gets nothing",
    "protocol": "event streaming v2: messages, values, tools, run states; heard again from the beginning",
    "protocolDrop": "event streaming v2: the connection is cut, each event exactly once",
    "protocolInterrupt": "event streaming v2: an interrupt and the answer to it",
    "protocolSocket": "event streaming v2 over a WebSocket",
    "useStream": "`useStream`: two turns",
    "useStreamInterrupt": "`useStream`: interrupt and resume",
    "useStreamBranches": "`useStream`: edit a message, answer anew (branches)",
}

# In this order: what comes first in a path is looked for first.
NAMES = [
    (re.compile(r"^/api/langgraph"), ""),
    (re.compile(r"\?.*"), ""),
    (re.compile(r"^/threads/[0-9a-f-]{36}"), "/threads/{t}"),
    (re.compile(r"/runs/[0-9a-f-]{36}"), "/runs/{r}"),
    (re.compile(r"/runs/crons/[0-9a-f-]{36}"), "/runs/crons/{c}"),
    (re.compile(r"/state/[0-9a-f-]{36}"), "/state/{checkpoint}"),
    (re.compile(r"^/assistants/(?!search|count)[^/]+"), "/assistants/{a}"),
]


def endpoint(method: str, path: str) -> str:
    for pattern, name in NAMES:
        path = pattern.sub(name, path)
    return f"{method} {path}"


def render(results: Results, requests: Requests) -> str:
    clients = list(results)
    scenarios = [name for name in TITLES if any(name in each for each in results.values())]
    done = [[TITLES[name], *(_cell(results[client].get(name)) for client in clients)] for name in scenarios]
    answered = {
        client: {endpoint(method, path) for method, path, status in seen if status < 300}
        for client, seen in requests.items()
    }
    routes = sorted(set().union(*answered.values()), key=lambda name: (name.split(" ")[1], name))
    called = [
        [f"`{route}`", *(WORKS if route in answered[client] else UNTRIED for client in clients)]
        for route in routes
    ]
    return "\n\n".join(
        [_rows(["what is done", *clients], done), _rows(["request, answered", *clients], called)]
    )


def _cell(went_through: bool | None) -> str:
    return UNTRIED if went_through is None else WORKS if went_through else FAILS


def _rows(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def said_before() -> set[tuple[str, str]]:
    """(client, scenario) of what the page says works."""
    lines = [line.strip("| ").split(" | ") for line in _between().splitlines() if line.startswith("|")]
    names = {title: name for name, title in TITLES.items()}
    clients: list[str] = []
    found = set()
    for title, *cells in lines:
        if title == "what is done":
            clients = cells
        elif title in names:
            works = (client for client, cell in zip(clients, cells, strict=True) if cell == WORKS)
            found |= {(client, names[title]) for client in works}
    return found


def write(text: str) -> None:
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


def _between() -> str:
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]
