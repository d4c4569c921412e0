"""`manage.py reset_factor USER`: for when nobody is left who could do it in the admin."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import factors
from accounts.models import User


class Command(BaseCommand):
    help = "Take away USER's authenticator app and recovery codes, and end all their sessions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER")

    def handle(self, *, user: str, **_: Any) -> None:
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is nobody called {user!r}.")
        if not factors.remove(person, "reset"):
            raise CommandError(f"{user} has no authenticator app.")
        self.stderr.write(f"{user} signs in by password alone until a new app is set up.")
