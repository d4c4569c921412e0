"""`manage.py migrate`, which refuses a database that a version before this one's first left half-way."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.migrations.loader import MigrationLoader


class Command(migrate.Command):
    """Each app's first migration stands for those it was made of: for all of them, never for a part."""

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_half(options["database"])
        super().handle(*args, **options)


def refuse_half(using: str) -> None:
    loader = MigrationLoader(connections[using])
    applied = loader.applied_migrations.keys()
    for (app, _name), migration in loader.disk_migrations.items():
        replaced = set(migration.replaces)
        if replaced & applied and not replaced <= applied:
            raise CommandError(
                f"The tables of {app} come from an older checkout whose migrations were only partly applied. "
                "Check out commit 43e61e2, run `./manage.py migrate`, come back and run it again. Nothing was changed."
            )
