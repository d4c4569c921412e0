from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtime.audit import signing


class Command(BaseCommand):
    help = (
        "Write the audit as JSON Lines, an event each; the last line is the chain's head, signed. To check it without "
        "this product: platform/runtime/audit/verify_export.py with the key that --public-key prints."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=int, default=1, metavar="SEQ", help="first event; 1 by default")
        parser.add_argument("--until", type=int, metavar="SEQ", help="last event; the newest by default")
        parser.add_argument("--output", type=Path, metavar="FILE", help="standard output by default")
        parser.add_argument("--public-key", action="store_true", help="print the public key and leave")

    def handle(
        self, *, since: int, until: int | None, output: Path | None, public_key: bool, **_: Any
    ) -> None:
        if public_key:
            self.stdout.write(signing.public_key(), ending="")
            return
        try:
            export = signing.begin(since, until)
        except signing.OutOfRange as error:
            raise CommandError(
                f"There are the events 1 to {error}. Give --since and --until within them."
            ) from error
        if output is None:
            self._write(self.stdout, export)
            return
        with output.open("w", encoding="utf-8", newline="\n") as file:
            self._write(file, export)

    def _write(self, out: Any, export: signing.Export) -> None:
        for lines in export.lines():
            out.write(lines)
