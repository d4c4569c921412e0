"""RQ's worker with slots in place of one job at a time.

RQ's own loop stays in the main thread (blocking pop, registries, maintenance, suspension). Each job is performed
by RQ's own code in a thread.
"""

from __future__ import annotations

import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import BaseWorker, WorkerStatus

logger = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two heartbeats of the jobs in RQ's registries
SLOT_WAIT = 1.0  # seconds until a full worker looks up again


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's own time limits are signals, which only reach the main thread. A run's limits are the engine's."""

    def setup_death_penalty(self) -> None: ...

    def cancel_death_penalty(self) -> None: ...


class SlotWorker(BaseWorker):
    """Subclasses say what a job may do."""

    death_penalty_class = NoDeathPenalty
    max_connection_wait_time = 2.0
    log_job_description = False

    def __init__(self, *args: Any, concurrency: int = settings.WORKER_CONCURRENCY, **kwargs: Any) -> None:
        self._here = threading.local()
        # RQ's own would take minutes to notice that a worker is gone.
        intervals = {"worker_ttl": 30, "maintenance_interval": 15, "job_monitoring_interval": 10}
        super().__init__(*args, **{"serializer": JSONSerializer, **intervals, **kwargs})
        self._concurrency = concurrency
        self._slots = threading.BoundedSemaphore(concurrency)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="job")
        self._performing: dict[str, tuple[Job, Execution]] = {}
        self._stopping = threading.Event()
        self._beat_thread = threading.Thread(target=self._beat, name="beat", daemon=True)

    # RQ keeps these on the worker as if it performed one job; here each parked thread has its own.

    @property
    def execution(self) -> Execution | None:
        return getattr(self._here, "execution", None)

    @execution.setter
    def execution(self, value: Execution | None) -> None:
        self._here.execution = value

    @property
    def dequeue_timeout(self) -> int:
        return 1  # second: how long a stop can go unnoticed

    def work(self, *args: Any, **kwargs: Any) -> bool:
        self._beat_thread.start()
        return bool(super().work(*args, **kwargs))

    def begin(self, job: Job) -> None:
        """Called in the job's thread while RQ has yet to write its books."""

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Takes a slot first, then a job; None when the worker was asked to stop."""
        while not self._stop_requested:
            if not self._slots.acquire(timeout=SLOT_WAIT):
                continue
            found = self._dequeue(timeout)
            if found is not None:
                return found
            self._slots.release()
            if timeout is None:  # burst: nothing left
                break
        return None

    def _dequeue(self, timeout: int | None) -> tuple[Job, Queue] | None:
        try:
            return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time=1)
        except RedisError:  # full, or it stands still: RQ would quit, with all that is under way here
            logger.warning("redis gave no job", exc_info=True, extra={"action": "redis_gave_no_job"})
            self._stopping.wait(SLOT_WAIT)
            return None

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        with suppress(RedisError):  # as above: what comes next meets it again
            super().heartbeat(*args, **kwargs)

    def execute_job(self, job: Job, queue: Queue) -> None:
        if self._stop_requested:
            self._put_back(job, queue)
            return
        self._threads.submit(self._perform, job, queue)

    def _put_back(self, job: Job, queue: Queue) -> None:
        self._slots.release()
        queue.push_job_id(job.id, at_front=True)
        self.connection.lrem(queue.intermediate_queue_key, 1, job.id)

    def _perform(self, job: Job, queue: Queue) -> None:
        try:
            self.begin(job)
            execution = self.prepare_execution(job)
            self._performing[execution.id] = (job, execution)
            try:
                self.perform_job(job, queue)
            finally:
                self._performing.pop(execution.id, None)
        except RedisError:
            # What became of it is in the database; RQ's books are put right by its maintenance.
            logger.warning(
                "rq lost a job's end", exc_info=True, extra={"action": "rq_job_lost", "job_id": job.id}
            )
        finally:
            self.execution = None
            self._slots.release()

    def set_state(self, state: str, pipeline: Any = None) -> None:
        super().set_state(WorkerStatus.BUSY if self._performing else state, pipeline)

    def get_heartbeat_ttl(self, job: Job) -> int:
        return int(self.job_monitoring_interval) + 60

    def _beat(self) -> None:
        while not self._stopping.wait(BEAT):
            for job, execution in list(self._performing.values()):
                self.execution = execution
                try:
                    self.maintain_heartbeats(job)
                except RedisError:
                    logger.info("rq heartbeat missed", extra={"action": "rq_heartbeat_missed"})

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM, SIGINT: takes nothing more, lets what is under way end, leaves. Never raises."""
        self._stop_requested = True
        signal.signal(signal.SIGINT, self.request_force_stop)
        signal.signal(signal.SIGTERM, self.request_force_stop)

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        raise SystemExit(1)  # leases run out, other workers take over

    def teardown(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._stopping.set()
        super().teardown()  # type: ignore[no-untyped-call]
