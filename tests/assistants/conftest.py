"""The assistants that come with Countersign, through the real engine and the demo endpoint over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from runtime.models import Assistant, Run, Thread, ThreadState, assistant_id_for

from tests.support.programs import Program, key_of

PROGRAMS = {"options": {"stream_mode": []}}  # what makes a run leave its state in a row


@pytest.fixture
def assistant_of(db: None) -> Callable[[str], Assistant]:
    def make(graph_id: str) -> Assistant:
        return Assistant.objects.get_or_create(
            pk=assistant_id_for(graph_id), defaults={"graph_id": graph_id, "name": graph_id.title()}
        )[0]

    return make


@pytest.fixture
def thread_with(alice: User, assistant_of: Callable[[str], Assistant]) -> Callable[[str], Thread]:
    return lambda graph_id: Thread.objects.create(owner=alice, assistant=assistant_of(graph_id))


@pytest.fixture
def alices_program(alice: User) -> Program:
    return Program(key_of(alice))


def state_after(run: Run) -> Any:
    """What its graph came to rest with."""
    row = ThreadState.objects.get(thread=run.thread_id)
    assert row.run_id == run.pk
    return row.values
