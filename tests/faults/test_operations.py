"""What operators do to it: deployments, and a machine that goes dark."""

from __future__ import annotations

import signal

import pytest
from django.db import connections
from embedded.postgres import Postgres
from embedded.valkey import Valkey
from runtime.models import Run

from tests.faults.lab import Lab
from tests.support.processes import until

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
