"""`manage.py worker`: performs runs, or the jobs beside them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from runtime import jobs, runs
from runtime.redis_client import blocking_redis_client
from runtime.slots import SlotWorker


class Command(BaseCommand):
    help = "Performs the runs, or the other jobs, of one queue, many at once, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        # One queue a process: RQ hands a job over safely only then.
        parser.add_argument("--queue", choices=sorted(settings.RQ_QUEUES), default=runs.QUEUE)
        parser.add_argument("--concurrency", type=int, metavar="RUNS", help="how many at once")
        parser.add_argument("--burst", action="store_true", help="leave when the queue is empty")
        parser.add_argument(
            "--last-attempts",
            action="store_true",
            help="perform only the runs whose workers died again and again, one by one, and leave",
        )

    def handle(
        self, *, queue: str, concurrency: int | None, burst: bool, last_attempts: bool, **_: Any
    ) -> None:
        if last_attempts:
            from runtime.quarantine import perform_suspects

            perform_suspects(f"{uuid4().hex}-alone")
            return
        worker_of(queue, concurrency).work(burst=burst)


def worker_of(queue: str, concurrency: int | None) -> SlotWorker:
    connection = blocking_redis_client()
    if queue == jobs.QUEUE:  # without the seconds and the memory that the engine costs
        from runtime.job_worker import AT_ONCE, JobWorker

        return JobWorker([queue], connection=connection, concurrency=concurrency or AT_ONCE)
    from runtime.worker import AsyncWorker

    usual = settings.BATCH_CONCURRENCY if queue == runs.BATCH else settings.WORKER_CONCURRENCY
    return AsyncWorker([queue], connection=connection, concurrency=concurrency or usual)
