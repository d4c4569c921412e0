"""`manage.py ask "…" --as USER`: one turn, for scripts."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.chat import terminal
from apps.chat.api import shapes

WAITS, FAILED = 2, 3


class Command(BaseCommand):
    help = (
        "Ask an assistant and print its answer as it comes. Ends with 0 when it has answered, with 2 when something "
        "waits for a person (the run goes on when they have decided), with 3 when the run failed or was stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("text", help="What is said; - reads it from standard input.")
        parser.add_argument(
            "--json", action="store_true", help="The outcome as one line of JSON, at the end."
        )
        terminal.add_arguments(parser)

    def handle(self, *, text: str, person: str, json: bool, **options: Any) -> None:
        user = terminal.person_named(person)
        said = sys.stdin.read() if text == "-" else text
        run = terminal.begin(user, said, options["assistant"], options["session"])
        out = self.stderr if json else self.stdout
        end = terminal.Screen(out, self.stderr).hear(run)
        if json:
            self.stdout.write(shapes.outcome(run.run.pk).model_dump_json())
        elif end["error"]:
            self.stderr.write(terminal.plain(end["error"]["message"]))
        if end["status"] != "success":
            sys.exit(WAITS if end["status"] == shapes.INTERRUPTED else FAILED)
