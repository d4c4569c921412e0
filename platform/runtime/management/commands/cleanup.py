from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from rich.progress import Progress

from runtime import idempotency, retention


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return int(text)


class Command(BaseCommand):
    help = (
        "Delete threads that nobody touched for COUNTERSIGN_KEEP_THREADS_DAYS, with their runs, messages, tool calls "
        "and checkpoints, expired sessions, the keys of requests after a day, and the values of webhooks of runs that "
        "failed a week ago. Threads with a run under way or an unsettled tool call stay. Of a thread not touched for "
        "COUNTERSIGN_KEEP_CHECKPOINTS_DAYS only the newest checkpoint stays: it can go on, but not be forked from an "
        "earlier point. Safe to interrupt and to repeat."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
        parser.add_argument(
            "--batch-size", type=_positive, default=100, metavar="N", help="rows a transaction"
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, *, dry_run: bool, batch_size: int, as_json: bool, **_: Any) -> None:
        days = settings.KEEP_THREADS_DAYS
        self._quiet = as_json
        counts = {
            "threads": retention.expired_threads(days).count(),
            "sessions": retention.expired_sessions().count(),
            "request_keys": idempotency.expired().count(),
            "webhook_values": retention.stale_values().count(),
        }
        if not dry_run:
            threads = retention.delete_threads(days, batch_size=batch_size)
            sessions = retention.delete_sessions(batch_size=batch_size)
            counts["threads"] = self._delete("threads", counts["threads"], threads)
            counts["sessions"] = self._delete("sessions", counts["sessions"], sessions)
            keys = idempotency.delete_expired(batch_size=batch_size)
            counts["request_keys"] = self._delete("request keys", counts["request_keys"], keys)
            values = retention.drop_values(batch_size=batch_size)
            counts["webhook_values"] = self._delete("values of webhooks", counts["webhook_values"], values)
            counts["checkpoints"] = sum(self._pruned())
        self._report(counts, dry_run=dry_run)

    def _pruned(self) -> Iterable[int]:
        from runtime import pruning  # LangGraph: two seconds to import

        return pruning.prune(settings.KEEP_CHECKPOINTS_DAYS)

    def _delete(self, name: str, expected: int, batches: Iterable[int]) -> int:
        """Works the batches off: with a bar on a terminal, a line a batch elsewhere. The number deleted."""
        deleted = 0
        with Progress(disable=self._quiet or not self._on_terminal()) as progress:
            bar = progress.add_task(name, total=expected)
            for size in batches:
                deleted += size
                progress.update(bar, completed=deleted)
                if not self._quiet and not self._on_terminal():
                    self.stdout.write(f"{name}: {deleted} of {expected} deleted")
        return deleted

    def _on_terminal(self) -> bool:
        return self.stdout.isatty() and sys.stdout.isatty()

    def _report(self, counts: dict[str, int], *, dry_run: bool) -> None:
        if self._quiet:
            self.stdout.write(json.dumps({"dry_run": dry_run, **counts}))
            return
        verb = "Would delete" if dry_run else "Deleted"
        threads, sessions, keys = counts["threads"], counts["sessions"], counts["request_keys"]
        self.stdout.write(f"{verb} {threads} threads, {sessions} sessions and {keys} keys of requests.")
        if counts["webhook_values"]:
            self.stdout.write(f"{verb} the values of {counts['webhook_values']} failed webhooks of runs.")
        if counts.get("checkpoints"):
            self.stdout.write(f"Deleted {counts['checkpoints']} old checkpoints of threads that stay.")
