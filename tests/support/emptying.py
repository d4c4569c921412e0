"""The database between two tests: every row gone but those that migrations made.

Django truncates every table and makes the permissions anew, 0.3 s each time; deleting the few rows that a test leaves
takes a hundredth of it.
"""

from __future__ import annotations

from functools import cache

from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected

MADE_BY_MIGRATIONS = (
    "django_content_type",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
    "runtime_audithead",
)
TRIES = 5


def remember() -> None:
    """Call it once, when the database has just been made."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS made")
        for table in MADE_BY_MIGRATIONS:
            cursor.execute(f"DROP TABLE IF EXISTS made.{table}")
            cursor.execute(f"CREATE TABLE made.{table} AS TABLE {table}")


@cache
def _statements() -> str:
    """The audit and others refuse to be emptied; the owner of the tables can, in one transaction, switch that off."""
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal")
        guarded = [table for (table,) in cursor.fetchall()]
    return ";\n".join(
        [
            *(f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in guarded),
            *(f"DELETE FROM {table}" for table in tables if table not in MADE_BY_MIGRATIONS),
            *(
                f"DELETE FROM {table} AS row WHERE NOT EXISTS (SELECT FROM made.{table} AS made WHERE made = row)"
                for table in MADE_BY_MIGRATIONS
            ),
            *(
                f"INSERT INTO {table} SELECT * FROM made.{table} ON CONFLICT DO NOTHING"
                for table in MADE_BY_MIGRATIONS
            ),
            "SET CONSTRAINTS ALL IMMEDIATE",
            *(f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in guarded),
        ]
    )


def empty() -> None:
    """Tries again when a product that runs beside the test has put a row in between, or the two have deadlocked."""
    for is_last in [False] * (TRIES - 1) + [True]:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(_statements())
            return
        except (IntegrityError, OperationalError) as error:
            beside = isinstance(error, IntegrityError) or isinstance(error.__cause__, DeadlockDetected)
            if is_last or not beside:
                raise
