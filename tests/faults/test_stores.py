"""PostgreSQL and Redis emptied, cut off and killed under live runs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import InternalError, connection, connections
from embedded.postgres import Postgres
from embedded.valkey import Valkey
from redis.exceptions import OutOfMemoryError
from runtime.models import RunStatus, ToolCall, ToolState
from runtime.redis_client import redis_client

from tests.faults.lab import Lab

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

LIVE = 20
SLOWLY = "demo-model+delay=0.005"


@pytest.mark.fault("R1 FLUSHALL")
def test_an_emptied_redis_loses_no_run(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.begin(LIVE)
        redis_client().flushall()
        lab.settle()
        go_on(lab)


@pytest.mark.fault("R2 Redis killed, nothing kept")
def test_a_redis_that_dies_and_forgets_loses_no_run(lab: Lab, valkey: Valkey) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.begin(LIVE)
        valkey.process.kill()
        time.sleep(lab.random.uniform(0, 2))  # for how long it is away
        shutil.rmtree(valkey.data_dir)
        valkey.start()
        lab.settle()
        go_on(lab)


@pytest.mark.fault("R3 Redis away")
def test_without_redis_runs_begin_and_end(lab: Lab, valkey: Valkey) -> None:
    with lab.worker():
        lab.reach(lab.say("hello"), RunStatus.SUCCESS)
        valkey.process.kill()
        try:
            lab.strike()
            lab.load(4)
            lab.settle()
            go_on(lab)
        finally:
            valkey.start()
        lab.reach(lab.say("hello"), RunStatus.SUCCESS)
        lab.settle()


@pytest.mark.fault("R4 Redis paused")
def test_a_redis_that_stands_still_keeps_nobody_waiting(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.begin(LIVE)
        redis_client().client_pause(2500, all=True)
        asked_at = time.monotonic()
        for _ in range(3):
            lab.say("hello")
        assert time.monotonic() - asked_at < 1.5  # one wait for all of them, not one a command
        lab.settle()
        go_on(lab)


@pytest.mark.fault("R5 Redis full")
def test_a_full_redis_loses_no_run(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.begin(LIVE)
        with a_full_redis():
            lab.say("hello")
            lab.settle()
            go_on(lab)
        lab.reach(lab.say("hello"), RunStatus.SUCCESS)
        lab.settle()


@pytest.mark.fault("P1 PostgreSQL crashes")
def test_a_crash_of_postgresql_loses_no_run(lab: Lab, postgres: Postgres) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.begin(LIVE)
        connections.close_all()
        postgres.restart(immediate=True)
        lab.settle(within=40)
        go_on(lab)


@pytest.mark.fault("P3 a pool of two connections")
def test_runs_that_share_two_connections_all_end_well(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY, COUNTERSIGN_DB_POOL="2"):
        lab.begin(LIVE)
        lab.settle()
        go_on(lab)


@pytest.mark.fault("P2 every connection cut")
def test_a_cut_of_every_connection_loses_no_run(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.begin(LIVE)
        cut_every_connection()
        lab.settle()
        go_on(lab)


@pytest.mark.fault("P6 the database refuses writes")
def test_while_the_database_refuses_writes_nothing_happens_unrecorded(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.begin(LIVE)
        with a_read_only_database():
            with pytest.raises(InternalError, match="read-only"):
                lab.say("hello")
            time.sleep(lab.random.uniform(2, 4))  # for how long it refuses
        lab.settle()
        go_on(lab)

    begun = ToolCall.objects.filter(tool="ring", started_at__isnull=False)
    assert set(lab.rings()) <= {call.args["key"] for call in begun}


def go_on(lab: Lab) -> None:
    """What waited for a person goes on as ever."""
    assert lab.approve_all()
    lab.settle()
    assert not ToolCall.objects.filter(state=ToolState.WAITING).exists()


@contextmanager
def a_full_redis() -> Iterator[None]:
    """Redis refuses whatever would take memory; what it holds it keeps."""
    redis = redis_client()
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            redis.set("more", "than fits")
        yield
    finally:
        redis.config_set("maxmemory", 0)


@contextmanager
def a_read_only_database() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
    cut_every_connection()
    forget_own_connections()
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute("ALTER ROLE CURRENT_USER RESET default_transaction_read_only")
        cut_every_connection()
        forget_own_connections()


def forget_own_connections() -> None:
    connections.close_all()
    connection.close_pool()


def cut_every_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
