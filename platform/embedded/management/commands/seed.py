from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from embedded.seed import seed


class Command(BaseCommand):
    help = "Make the assistants and the shop's rules where they are missing. Nothing that exists is changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--demo",
            action="store_true",
            help="also accounts alice, carol, bob and admin with the demo password, and a dozen orders",
        )

    def handle(self, *, demo: bool, verbosity: int, **_: Any) -> None:
        made = seed(Path(settings.HOME), demo=demo)
        if verbosity:
            counts = ", ".join(f"{count} {name}" for name, count in asdict(made).items())
            self.stdout.write(f"Made {counts}.")
