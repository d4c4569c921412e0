"""How far a graph is that counts what it does: told by its nodes, shown on the page and to programs."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from runtime import events
from runtime.context import current_run
from runtime.database import in_database
from runtime.models import Run, RunStatus
from runtime.schemas import RunProgress


async def report(done: int, total: int) -> None:
    """`done` of `total` are done. Of nodes that tell it at once the furthest counts; one that lost its run tells nothing."""
    await in_database(_report, current_run.get().run, {"done": done, "total": total})


@transaction.atomic
def _report(run: Run, progress: RunProgress) -> None:
    ours = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=RunStatus.RUNNING)
    held = ours.select_for_update(no_key=True).first()
    if held is None or _is_behind(progress, held.progress):
        return
    ours.update(progress=progress)
    announced = partial(events.announce, run.thread_id, "progress", run.pk, dict(progress))
    transaction.on_commit(announced)


def _is_behind(progress: RunProgress, known: RunProgress | None) -> bool:
    return known is not None and known["total"] == progress["total"] and known["done"] >= progress["done"]
