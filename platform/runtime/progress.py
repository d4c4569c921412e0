"""How far a graph is that counts what it does: told by its nodes, shown on the page and to programs."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from runtime import events
from runtime.context import current_run
from runtime.database import in_database
from runtime.models import Run, RunStatus
from runtime.schemas import RunProgress


async def begin(total: int) -> None:
    """So many steps are to come. Said again, by a worker that took the run over, it forgets none that is done."""
    await _counted(None, total)


async def count(step: str, total: int) -> None:
    """This step of so many is done. Each counts once, however often its node runs; side by side they may."""
    await _counted(step, total)


async def _counted(step: str | None, total: int) -> None:
    context = current_run.get()
    async with context.counting:
        await in_database(_count, context.run, step, total)


@transaction.atomic
def _count(run: Run, step: str | None, total: int) -> None:
    """Writes nothing for a run that is no longer this attempt's."""
    ours = Run.objects.filter(pk=run.pk, attempt=run.attempt, status=RunStatus.RUNNING)
    held = ours.select_for_update(no_key=True).first()
    if held is None:
        return
    known: list[str] = held.progress["steps"] if held.progress and held.progress["total"] == total else []
    steps = known if step is None or step in known else [*known, step]
    progress: RunProgress = {"done": len(steps), "total": total, "steps": steps}
    if progress == held.progress:
        return
    ours.update(progress=progress)
    data = {"done": progress["done"], "total": total}
    transaction.on_commit(partial(events.announce, run.thread_id, "progress", run.pk, data))
