"""`manage.py worker`: performs runs."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from runtime import runs


class Command(BaseCommand):
    help = "Performs the runs of one queue, many at once, until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        # One queue a process: RQ hands a job over safely only then.
        parser.add_argument("--queue", choices=sorted(settings.RQ_QUEUES), default=runs.QUEUE)
        parser.add_argument("--concurrency", type=int, default=settings.WORKER_CONCURRENCY, metavar="RUNS")
        parser.add_argument("--burst", action="store_true", help="leave when the queue is empty")
        parser.add_argument(
            "--last-attempts",
            action="store_true",
            help="perform only the runs whose workers died again and again, one by one, and leave",
        )

    def handle(self, *, queue: str, concurrency: int, burst: bool, last_attempts: bool, **_: Any) -> None:
        if last_attempts:
            from runtime.quarantine import perform_suspects

            perform_suspects(f"{uuid4().hex}-alone")
            return
        from runtime.redis_client import blocking_redis_client
        from runtime.worker import AsyncWorker

        AsyncWorker([queue], connection=blocking_redis_client(), concurrency=concurrency).work(burst=burst)
