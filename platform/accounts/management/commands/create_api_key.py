"""`manage.py create_api_key USER --name N --scope S`: a key for a program, printed once."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import keys
from accounts.exceptions import Refusal
from accounts.models import User
from accounts.scopes import Scope, scopes_of


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days between 1 and 3650")
    return int(text)


class Command(BaseCommand):
    help = (
        "Make an API key with which a program acts for USER. The key alone goes to stdout, for a file or a secret "
        "store; it can't be shown again. A key never gives more than its owner has."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--name", required=True, help="what uses it, and where")
        parser.add_argument("--scope", required=True, action="append", choices=Scope.values, dest="scopes")
        parser.add_argument("--days", type=_days, help="for which it works; until it is revoked by default")

    def handle(self, *, user: str, name: str, scopes: list[str], days: int | None, **_: Any) -> None:
        owner = User.objects.filter(username=user, is_active=True).first()
        if owner is None:
            raise CommandError(f"There is nobody called {user!r}, or their account is switched off.")
        if not 0 < len(name) <= 80 or not name.isprintable():
            raise CommandError("A name has 1 to 80 plain characters.")
        try:
            key, text = keys.create_key(
                owner, name, [Scope(each) for each in scopes], timedelta(days=days) if days else None
            )
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self._warn_of_nothing(owner, scopes)
        self.stderr.write(f"Made {key} for {owner.username}. It can't be shown again.")
        self.stdout.write(text)

    def _warn_of_nothing(self, owner: User, scopes: list[str]) -> None:
        empty = sorted(set(scopes) - {scope.value for scope in scopes_of(owner)})
        if empty:
            self.stderr.write(
                f"{owner.username} has no permission for {', '.join(empty)}: the key gives that only from when they do."
            )
