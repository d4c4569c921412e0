"""The worker of the queue beside the runs. It has no engine and performs what is on the list, nothing else."""

from __future__ import annotations

from typing import Any

from django.db import connections
from rq.job import Job

from runtime import jobs
from runtime.slots import SlotWorker

AT_ONCE = 16  # each may hold a connection of the pool


class ListedJob(Job):
    """A job that can only be one of `settings.JOBS`."""

    def _execute(self) -> Any:
        try:
            return jobs.callable_of(self.func_name or "")(*self.args)
        finally:
            connections.close_all()  # back to the pool

    # Callbacks are dotted paths as well; these jobs have none.
    success_callback = failure_callback = stopped_callback = None


class JobWorker(SlotWorker):
    job_class = ListedJob

    def work(self, *args: Any, **kwargs: Any) -> bool:
        jobs.set_slots(self._concurrency)
        return super().work(*args, **kwargs)
