from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from runtime import invariants


class Command(BaseCommand):
    help = (
        "Look for rows that contradict each other: runs nobody performs, calls nobody can decide, decisions without "
        "effect, messages that are gone. Prints a line for each and exits with 1; 0 when all is well. Changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--settled", action="store_true", help="nothing is under way: live runs are wrong too"
        )
        parser.add_argument(
            "--checkpoints",
            action="store_true",
            help="also look for unanswered tool calls in every thread's state",
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, *, settled: bool, checkpoints: bool, as_json: bool, **_: Any) -> None:
        found = invariants.violations(settled=settled)
        if checkpoints:
            from runtime import orphans  # LangGraph, two seconds

            found += orphans.violations()
        if as_json:
            self.stdout.write(json.dumps({"violations": [violation.as_dict() for violation in found]}))
        else:
            for violation in found:
                self.stdout.write(str(violation))
            self.stdout.write(f"{len(found)} violations." if found else "Every invariant holds.")
        if found:
            sys.exit(1)
