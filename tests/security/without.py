"""Ways to take a control away, for as long as a twin runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from django.conf import settings
from django.db import connection
from django.test import override_settings

Without = Callable[[], AbstractContextManager[Any]]


def middleware(*paths: str) -> Without:
    """Clients that are made meanwhile pass the others only."""
    return lambda: override_settings(MIDDLEWARE=[path for path in settings.MIDDLEWARE if path not in paths])


def setting(**values: Any) -> Without:
    return lambda: override_settings(**values)


def patched(target: str, new: object) -> Without:
    """`target`, the dotted path of a check, answers as `new` does."""
    return lambda: mock.patch(target, new)


def trigger(table: str, *names: str) -> Without:
    """Whoever owns the table can do that; the test's own role does."""

    @contextmanager
    def disabled() -> Iterator[None]:
        _alter(table, "DISABLE", names)
        try:
            yield
        finally:
            _alter(table, "ENABLE", names)

    return disabled


def _alter(table: str, how: str, names: tuple[str, ...]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # PostgreSQL alters no table with checks outstanding
        for name in names:
            cursor.execute(f"ALTER TABLE {table} {how} TRIGGER {name}")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def index(*names: str) -> Without:
    """For a test within a transaction: its end brings them back."""

    @contextmanager
    def dropped() -> Iterator[None]:
        assert connection.in_atomic_block
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"DROP INDEX {name}")
        yield

    return dropped
