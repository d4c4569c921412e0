"""What the owner of the audit's tables can do to them, and the product can't."""

from __future__ import annotations

from django.db import connection, transaction

TABLES = ("runtime_auditevent", "runtime_audithead")


def tampering(*statements: str) -> list[str]:
    """The statements between those that switch the audit's triggers off and on again."""
    off = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in TABLES]
    on = [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in TABLES]
    return [*off, *statements, *on]


def tamper(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in tampering(*statements):
            cursor.execute(statement)
