from __future__ import annotations

from typing import Any

from accounts.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtime import erasure


class Command(BaseCommand):
    help = (
        "Erase a person: their threads with messages, runs, tool calls and checkpoints, what programs stored for them, "
        "keys, sessions, notifications, name and address. What they decided on for others stays, without a name; the "
        "audit's chain still verifies. Refused while anything of theirs is under way. It can't be undone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would be erased, and what is in the way"
        )
        parser.add_argument("--yes", action="store_true", help="do it without asking")

    def handle(self, *, username: str, dry_run: bool, yes: bool, **_: Any) -> None:
        person = User.objects.filter(username=username).first()
        if person is None:
            raise CommandError(f"Nobody is called {username}.")
        self._tell("Would erase" if dry_run else "To be erased", erasure.counted(person))
        found = erasure.obstacles(person)
        if found:
            raise CommandError("\n".join(["It can't be done now:", *found]))
        if dry_run:
            self.stdout.write("Nothing is in the way.")
            return
        if not yes and input(f"Erase {username} for good? Write the name: ") != username:
            raise CommandError("Nothing was erased.")
        try:
            self._tell("Erased", erasure.erase(person))
        except erasure.NotErased as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{username} is erased-{person.pk} from now on. Back-ups hold what they held.")

    def _tell(self, what: str, counts: dict[str, int]) -> None:
        rows = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        self.stdout.write(f"{what}: {rows or 'no rows'}, and the name and address.")
