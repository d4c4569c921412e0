"""An UPDATE that tells what the row is by then: Django would ask for that in a second round trip."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from django.db.models import Model, QuerySet
from django.db.models.sql import UpdateQuery

M = TypeVar("M", bound=Model)


def update_one(rows: QuerySet[M], instance: M, **fields: Any) -> bool:
    """Writes `fields` where `rows` still has `instance`, which becomes what the row is by then. False when it has not.

    As with `QuerySet.update`, `save` is not called and no signal is sent. A related object that `instance` holds
    stays where the row still names it.
    """
    query = cast(Any, rows.filter(pk=instance.pk).query.chain(UpdateQuery))
    query.add_update_values(fields)
    statement, values = query.get_compiler(rows.db).as_sql()
    row = next(iter(rows.model._base_manager.raw(f"{statement} RETURNING *", values)), None)
    if row is None:
        return False
    for field in instance._meta.concrete_fields:
        given = fields.get(field.name)
        is_object = isinstance(given, Model)
        setattr(
            instance, *((field.name, given) if is_object else (field.attname, getattr(row, field.attname)))
        )
    return True
