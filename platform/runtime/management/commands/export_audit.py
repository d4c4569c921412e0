from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtime import audit
from runtime.audit import chain, signing
from runtime.invariants import one_moment


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
        end = chain.head().seq
        until = end if until is None else until
        if not 1 <= since <= until <= end:
            raise CommandError(f"There are the events 1 to {end}. Give --since and --until within them.")
        after = {"since": since, "until": until}
        audit.append("audit.exported", subject=("audit", ""), after=after)
        if output is None:
            self._write(self.stdout, since, until)
            return
        with output.open("w", encoding="utf-8", newline="\n") as file:
            self._write(file, since, until)

    def _write(self, out: Any, since: int, until: int) -> None:
        with one_moment():
            for line in signing.export(after=since - 1, until=until):
                out.write(line)
