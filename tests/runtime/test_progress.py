"""How far a run is, as its nodes tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from runtime import events, progress, runs
from runtime.context import RunContext, current_run
from runtime.models import Run, RunStatus, Thread
from runtime.redis_client import redis_client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(thread: Thread) -> Run:
    claimed = Run.claim(runs.send_message(thread, thread.owner, "Count").pk, "test")
    assert claimed is not None
    return claimed


@pytest.fixture
def tell(run: Run) -> Callable[..., None]:
    """Has it told by a node of that run."""

    def telling(*steps: Coroutine[Any, Any, None]) -> None:
        async def node() -> None:
            current_run.set(RunContext(run))
            await asyncio.gather(*steps)

        asyncio.run(node())

    return telling


def counted(run: Run) -> Any:
    run.refresh_from_db()
    return run.progress


def told(run: Run) -> list[Any]:
    entries: Any = redis_client().xrange(events.log_key(run.thread_id))
    parsed = [events.parse(id.decode(), fields[b"e"].decode()) for id, fields in entries]
    return [event["data"] for event in parsed if event["event"] == "progress"]


def test_steps_side_by_side_all_count(run: Run, tell: Callable[..., None]) -> None:
    tell(progress.begin(5))
    tell(*(progress.count(f"{step}", 5) for step in range(5)))

    found = counted(run)
    assert (found["done"], found["total"], sorted(found["steps"])) == (5, 5, ["0", "1", "2", "3", "4"])
    assert told(run) == [{"done": done, "total": 5} for done in range(6)]


def test_a_step_counts_once_and_a_new_beginning_forgets_none(run: Run, tell: Callable[..., None]) -> None:
    for _ in range(2):
        tell(progress.begin(3))
        tell(progress.count("a", 3))

    assert counted(run) == {"done": 1, "total": 3, "steps": ["a"]}
    assert len(told(run)) == 2


def test_another_total_begins_anew(run: Run, tell: Callable[..., None]) -> None:
    tell(progress.count("a", 3))
    tell(progress.begin(4))

    assert counted(run) == {"done": 0, "total": 4, "steps": []}


def test_an_attempt_that_lost_its_run_tells_nothing(run: Run, tell: Callable[..., None]) -> None:
    Run.objects.filter(pk=run.pk).update(attempt=2)
    tell(progress.count("a", 3))
    assert Run.objects.get(pk=run.pk).progress is None

    Run.objects.filter(pk=run.pk).update(attempt=1)
    run.finish(RunStatus.SUCCESS)
    tell(progress.count("a", 3))
    assert Run.objects.get(pk=run.pk).progress is None
    assert told(run) == []
