"""The asynchronous RQ worker: many runs at once on one event loop in one process.

Each job waits in its parked thread for its coroutine on the shared loop. RQ is a wake-up call and a dashboard: what
becomes of a run is in the database. RQ 3.0 brings a worker of this name (rq/rq#2445).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from types import FrameType
from typing import Any

from django.conf import settings
from rq.job import Job

from runtime import runs
from runtime.engine import Engine
from runtime.slots import SlotWorker

_engine: Engine | None = None
_here = threading.local()  # .started: the future of the run that this thread's job is about


def execute_run(run_id: str) -> str:
    """The job: performs one run to its end on this process's engine. Returns what became of it."""
    if _engine is None:
        raise RuntimeError("Runs are performed by `manage.py worker`, not by a stock RQ worker.")
    started: Future[str] = getattr(_here, "started", None) or _engine.start(run_id)
    return started.result()


class RunJob(Job):
    """A job that can only perform a run: an entry in the queue is code to whoever can write one."""

    def _execute(self) -> Any:
        if self.func_name != runs.EXECUTE_RUN:
            raise PermissionError(f"{self.func_name} is not performed here: this queue is for runs only.")
        return execute_run(*self.args)

    # Callbacks are dotted paths as well; runs have none.
    success_callback = failure_callback = stopped_callback = None


class AsyncWorker(SlotWorker):
    """Performs runs on this process's engine."""

    job_class = RunJob

    def work(self, *args: Any, **kwargs: Any) -> bool:
        global _engine
        with Engine(self.name, concurrency=self._concurrency) as _engine:
            return super().work(*args, **kwargs)

    def begin(self, job: Job) -> None:
        """The run starts while RQ still writes its books: some milliseconds that a person would wait."""
        _here.started = self._start(job)

    def _start(self, job: Job) -> Future[str] | None:
        with suppress(Exception):  # an entry that can't be read fails below, where RQ records it
            if _engine is not None and job.func_name == runs.EXECUTE_RUN:
                return _engine.start(*job.args)
        return None

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """As every worker, and cuts the runs at their next step."""
        super().request_stop(signum, frame)
        if _engine is not None:
            _engine.drain()

    def teardown(self) -> None:
        if _engine is not None:
            _engine.drain()
            _engine.join(settings.WORKER_DRAIN)
        super().teardown()
