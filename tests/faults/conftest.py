"""Many rounds of each fault, with a table at the end, in `make faults`; one of each in `.ci/run`.

FAULTS_ROUNDS says how many, FAULTS_SEED replays: every round prints the seed it was drawn from.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import median
from typing import Any
from uuid import uuid4

import pytest
from _pytest.terminal import TerminalReporter
from accounts.models import User
from django.contrib.auth.models import Group
from django.db import connection, connections
from embedded.postgres import Postgres
from embedded.valkey import Valkey
from pytest_django.fixtures import Settings
from runtime.models import Assistant
from runtime.redis_client import redis_client

from apps.approvals.models import PolicyRule
from tests.faults.lab import Account, Lab
from tests.support.demo import DemoModel
from tests.support.nursery import Nursery

ROUNDS = int(os.environ.get("FAULTS_ROUNDS", "1"))
SHARE = 0.05  # of the rounds for a fault that does not say otherwise
# All processes of one test run must draw the same rounds.
SEED = os.environ.get("FAULTS_SEED") or os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid4().hex)[:8]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lab" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("rounds")
        share = marker.args[0] if marker else SHARE
        metafunc.parametrize("round_number", range(max(1, round(ROUNDS * share))))


def pytest_report_header() -> str:
    return f"faults: FAULTS_ROUNDS={ROUNDS} FAULTS_SEED={SEED}"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="session")
def steady_model() -> Iterator[DemoModel]:
    with DemoModel(delay=1) as model:
        yield model


@pytest.fixture(scope="session")
def durable(django_db_setup: None, django_db_blocker: Any) -> None:
    """The tests' server is quick to forget; what is committed here has to outlive a crash."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = on")
        connection.close()
        connection.close_pool()  # its connections are as quick to forget as before


@pytest.fixture
def servers(durable: None, postgres: Postgres, valkey: Valkey) -> Iterator[None]:
    """Up again after a test that failed while one of them was away."""
    yield
    for server in (postgres, valkey):
        if not server.is_ready():
            server.start()


@pytest.fixture
def lab(
    request: pytest.FixtureRequest,
    servers: None,
    transactional_db: None,
    nursery: Nursery,
    steady_model: DemoModel,
    tmp_path: Path,
    round_number: int,
    alice: User,
    bob: User,
    settings: Settings,
    record_property: Callable[[str, object], None],
) -> Iterator[Lab]:
    seed = f"{SEED} {request.node.originalname} {round_number}"
    print(f"FAULTS_SEED={SEED}, round {round_number}")
    settings.USER_RUN_LIMIT = 100  # alice is all the people there are
    connections.close_all()
    redis_client().flushall()
    approvers = Group.objects.get(name="Approvers")
    for tool in ("refund_order", "send_email"):
        PolicyRule.objects.create(name=f"{tool} waits", tool=tool, verdict="ask", approvers=approvers)
    lab = Lab(
        random=Random(seed),
        nursery=nursery,
        home=tmp_path,
        model_url=steady_model.base_url,
        assistant=Assistant.objects.create(graph_id="lab", name="Lab"),
        alice=alice,
        bob=bob,
        account=Account(fault=fault_of(request.node)),
    )
    yield lab
    connections.close_all()
    record_property("fault", json.dumps(lab.account.as_dict()))


def fault_of(item: pytest.Item) -> str:
    """The rows of the list of faults that a test is about, and its sentence."""
    marker = item.get_closest_marker("fault")
    assert marker, f"{item.name} does not say which fault it is about"
    return str(marker.args[0])


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """The campaign's table."""
    accounts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for report in (each for kind in terminalreporter.stats.values() for each in kind):
        for name, value in getattr(report, "user_properties", ()):
            if name == "fault" and report.when == "teardown":
                account = json.loads(value)
                accounts[account["fault"]].append(account)
    if ROUNDS == 1 or not accounts:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line(f"Campaign of FAULTS_ROUNDS={ROUNDS}, FAULTS_SEED={SEED}:")
    for line in table(accounts):
        terminalreporter.write_line(line)


def table(accounts: dict[str, list[dict[str, Any]]]) -> list[str]:
    head = [
        "fault",
        "rounds",
        "runs",
        "lost runs",
        "lost messages",
        "double effects",
        "stuck",
        "recovery p50",
        "max",
    ]
    rows = [head, ["---"] * len(head)]
    for fault, rounds in sorted(accounts.items()):
        counts = [str(sum(each[name] for each in rounds)) for name in COUNTED]
        times = [each["recovery"] for each in rounds if each["recovery"] is not None]
        spans = [f"{median(times):.1f} s", f"{max(times):.1f} s"] if times else ["", ""]
        rows.append([fault, str(len(rounds)), *counts, *spans])
    return [f"| {' | '.join(row)} |" for row in rows]


COUNTED = ("runs", "lost_runs", "lost_messages", "double_effects", "stuck")
