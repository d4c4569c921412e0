"""Auditing every change of a model's rows, with what each field held before and after."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import Any

from django.db import models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from runtime.audit.record import append, kind_of

HIDDEN = "***"
_STASH = "_audit_before"


def follow(model: type[models.Model], *, exclude: Collection[str] = (), hidden: Collection[str] = ()) -> None:
    """From now on creating, changing and deleting a row of `model` is audited, many-to-many fields included.

    Of a `hidden` field only is told that it changed. An app calls this in its `ready()`. A queryset's `delete()`
    is covered; its `update()`, `bulk_create()` and `bulk_update()` send no signals and are not: change audited rows
    one by one.
    """
    _Followed(model, frozenset(exclude), frozenset(hidden)).connect()


class _Followed:
    def __init__(self, model: type[models.Model], exclude: frozenset[str], hidden: frozenset[str]) -> None:
        self.model = model
        self.kind = kind_of(model)
        self.hidden = hidden
        self.fields = [
            field
            for field in model._meta.concrete_fields
            if field.name not in exclude and not field.primary_key and not getattr(field, "auto_now", False)
        ]
        self.many = [field for field in model._meta.local_many_to_many if field.name not in exclude]

    def connect(self) -> None:
        _save_in_a_transaction(self.model)
        for signal, receiver in (
            (pre_save, self.before_save),
            (post_save, self.after_save),
            (pre_delete, self.before_delete),
            (post_delete, self.after_delete),
        ):
            uid = f"audit of {self.model._meta.label}"
            signal.connect(receiver, sender=self.model, weak=False, dispatch_uid=uid)
        for field in self.many:
            through = field.remote_field.through
            uid = f"audit of {self.model._meta.label}.{field.name}"
            m2m_changed.connect(self._of_many(field), sender=through, weak=False, dispatch_uid=uid)

    # Rows

    def before_save(self, instance: models.Model, update_fields: Collection[str] | None, **_: Any) -> None:
        is_told = update_fields is None or any(field.name in update_fields for field in self.fields)
        if is_told and not instance._state.adding:
            instance.__dict__[_STASH] = self._stored(instance.pk)

    def after_save(
        self, instance: models.Model, created: bool, update_fields: Collection[str] | None, **_: Any
    ) -> None:
        before = instance.__dict__.pop(_STASH, None)
        after = self._held(instance)
        if created:
            append(f"{self.kind}.created", subject=instance, after=self._shown(after))
        elif before is not None:
            names = {
                name
                for name, value in after.items()
                if value != before[name] and (update_fields is None or name in update_fields)
            }
            self._tell(instance, _only(before, names), _only(after, names))

    def before_delete(self, instance: models.Model, **_: Any) -> None:
        many = {field.name: _names(getattr(instance, field.name).all()) for field in self.many}
        instance.__dict__[_STASH] = {**self._shown(self._held(instance)), **many}

    def after_delete(self, instance: models.Model, **_: Any) -> None:
        append(f"{self.kind}.deleted", subject=instance, before=instance.__dict__.pop(_STASH, None))

    def _stored(self, pk: Any) -> dict[str, Any] | None:
        row = self.model._base_manager.filter(pk=pk).first()
        return None if row is None else self._held(row)

    def _held(self, instance: models.Model) -> dict[str, Any]:
        return {field.name: _value(field, instance) for field in self.fields}

    def _shown(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: HIDDEN if name in self.hidden else value for name, value in values.items()}

    def _tell(self, instance: models.Model, before: dict[str, Any], after: dict[str, Any]) -> None:
        if after:
            changed = f"{self.kind}.changed"
            append(changed, subject=instance, before=self._shown(before), after=self._shown(after))

    # Many-to-many fields, from either side

    def _of_many(self, field: Any) -> Callable[..., None]:
        def told(
            instance: models.Model, action: str, reverse: bool, pk_set: set[Any] | None, **_: Any
        ) -> None:
            stash = f"{_STASH}_{field.name}"
            if action.startswith("pre_"):
                owners = self._owners(field, instance, pk_set) if reverse else [instance]
                instance.__dict__[stash] = [
                    (owner, _names(getattr(owner, field.name).all())) for owner in owners
                ]
                return
            for owner, before in instance.__dict__.pop(stash, []):
                fresh = self.model._base_manager.get(pk=owner.pk)  # past what was prefetched
                after = _names(getattr(fresh, field.name).all())
                if before != after:
                    self._tell(owner, {field.name: before}, {field.name: after})

        return told

    def _owners(self, field: Any, other: models.Model, pk_set: set[Any] | None) -> list[models.Model]:
        """Whose field changes when it is changed from the other side; None clears it."""
        rows = self.model._base_manager
        return list(rows.filter(pk__in=pk_set) if pk_set is not None else rows.filter(**{field.name: other}))


def _save_in_a_transaction(model: type[models.Model]) -> None:
    """Django writes a row and sends `post_save` in one only if something else began it."""
    save_base = model.save_base
    if hasattr(save_base, "__wrapped__"):
        return

    @wraps(save_base)
    def in_a_transaction(self: models.Model, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic(using=kwargs.get("using"), savepoint=False):
            save_base(self, *args, **kwargs)

    model.save_base = in_a_transaction  # type: ignore[method-assign]


def _value(field: models.Field[Any, Any], instance: models.Model) -> Any:
    value = field.value_from_object(instance)
    return value if hasattr(value, "resolve_expression") else field.to_python(value)


def _only(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


def _names(rows: Iterable[models.Model]) -> list[str]:
    """Names that mean something after the rows are gone, and in every language."""
    return sorted(".".join(getattr(row, "natural_key", lambda pk=row.pk: (str(pk),))()) for row in rows)
