"""Each app's first migration stands for those it was made of: for all of them, never for a part."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import pre_migrate


def watch(sender: AppConfig) -> None:
    """`migrate` refuses a database that was left half-way, before it changes anything."""
    pre_migrate.connect(refuse_half, sender=sender)


def refuse_half(using: str, **_: Any) -> None:
    loader = MigrationLoader(connections[using])
    applied = loader.applied_migrations.keys()
    for (app, _name), migration in loader.disk_migrations.items():
        replaced = set(migration.replaces)
        if replaced & applied and not replaced <= applied:
            raise CommandError(
                f"The tables of {app} are from a version before this one's first. Migrate with the newest version "
                "that has the old migrations (see CHANGELOG.md), then with this one. Nothing was changed."
            )
