"""Redis emptied and killed under live runs."""

from __future__ import annotations

import shutil
import time

import pytest
from embedded.valkey import Valkey
from runtime.models import Run, RunStatus, ToolCall, ToolState
from runtime.redis_client import redis_client

from tests.faults.lab import Lab
from tests.support.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

LIVE = 20


@pytest.mark.fault("R1 FLUSHALL")
def test_an_emptied_redis_loses_no_run(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL="demo-model+delay=0.005"):
        begin(lab)
        redis_client().flushall()
        lab.settle()
        resume(lab)


@pytest.mark.fault("R2 Redis killed, nothing kept")
def test_a_redis_that_dies_and_forgets_loses_no_run(lab: Lab, valkey: Valkey) -> None:
    with lab.worker(OPENAI_MODEL="demo-model+delay=0.005"):
        begin(lab)
        valkey.process.kill()
        time.sleep(lab.random.uniform(0, 2))
        shutil.rmtree(valkey.data_dir)
        valkey.start()
        lab.settle()
        resume(lab)


def begin(lab: Lab) -> None:
    """Brings runs into their middle: some stream, some run tools."""
    lab.load(LIVE)
    until(lambda: Run.objects.filter(status=RunStatus.RUNNING).count() >= LIVE // 2)
    time.sleep(lab.random.uniform(0, 1))
    lab.strike()


def resume(lab: Lab) -> None:
    """What waited for a person goes on as ever."""
    assert lab.approve_all()
    lab.settle()
    assert not ToolCall.objects.filter(state=ToolState.WAITING).exists()
