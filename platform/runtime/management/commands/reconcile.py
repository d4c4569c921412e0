from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from runtime import runs


class Command(BaseCommand):
    help = (
        "Take runs back from dead workers, wake workers for runs that Redis forgot, begin crons and send webhooks that "
        "are due. Workers do it every 2 s."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, *, as_json: bool, **_: Any) -> None:
        connection.ensure_connection()  # or each of its parts would wait for a database that is away
        mended = runs.reconcile()
        if as_json:
            self.stdout.write(json.dumps({"taken_over": mended.taken_over, "enqueued": mended.enqueued}))
            return
        self.stdout.write(f"{mended.taken_over} runs taken back, {mended.enqueued} enqueued again.")
