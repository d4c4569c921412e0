"""A person's store: JSON by namespace and key, kept beyond one thread. For programs of theirs and for their runs.

Each function is about one person's items and finds no other. The words are those of LangGraph's stores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import JSONField, Q, QuerySet, Value
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Now
from django.db.models.lookups import Exact, GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual
from django.utils.translation import gettext as _

from runtime import strict_json
from runtime.exceptions import BadItem, StoreFull
from runtime.models import StoreItem

LABELS = 10  # of a namespace
LABEL_CHARS = 100
NAME_BYTES = 1000  # of namespace and key: what an index entry may hold
VALUE_CHARS = 64 * 1024
ANY = "*"  # in a pattern: whatever label is there

COMPARED = {
    "$eq": Exact,
    "$gt": GreaterThan,
    "$gte": GreaterThanOrEqual,
    "$lt": LessThan,
    "$lte": LessThanOrEqual,
}


def put(owner_id: int, namespace: Sequence[str], key: str, value: Any) -> None:
    """Keeps the value there, in place of what there was. Raises BadItem and StoreFull."""
    names = _checked(namespace, key)
    if not names or not key:
        raise BadItem(_("An item needs a namespace and a key."))
    _check_value(value)
    mine = StoreItem.objects.filter(owner=owner_id)
    is_there = mine.filter(namespace=names, key=key).exists()
    if not is_there and mine.count() >= settings.STORE_ITEMS_EACH:
        raise StoreFull(
            _("Your store holds %(limit)s items, which is all it takes. Delete some.")
            % {"limit": settings.STORE_ITEMS_EACH}
        )
    StoreItem.objects.bulk_create(
        [StoreItem(owner_id=owner_id, namespace=names, key=key, value=value, updated_at=Now())],
        update_conflicts=True,
        unique_fields=["owner", "namespace", "key"],
        update_fields=["value", "updated_at"],
    )


def get(owner_id: int, namespace: Sequence[str], key: str) -> StoreItem | None:
    return StoreItem.objects.filter(owner=owner_id, namespace=_checked(namespace, key), key=key).first()


def delete(owner_id: int, namespace: Sequence[str], key: str) -> None:
    """What is not there is gone already."""
    StoreItem.objects.filter(owner=owner_id, namespace=_checked(namespace, key), key=key).delete()


def search(
    owner_id: int,
    prefix: Sequence[str],
    *,
    filter: dict[str, Any] | None = None,
    limit: int = 10,
    offset: int = 0,
) -> list[StoreItem]:
    """Items in namespaces that begin so, whose values are as `filter` says; the last changed first."""
    found = _below(owner_id, _checked(prefix))
    for name, wanted in (filter or {}).items():
        found = found.filter(_condition(name, wanted))
    return list(found.order_by("-updated_at", "pk")[offset : offset + limit])


def namespaces(
    owner_id: int,
    *,
    prefix: Sequence[str] = (),
    suffix: Sequence[str] = (),
    max_depth: int | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[list[str]]:
    """Those that begin and end so, cut off at `max_depth` labels, each once and in order."""
    every = StoreItem.objects.filter(owner=owner_id).order_by().values_list("namespace", flat=True).distinct()
    found = [each for each in every if _begins(each, prefix) and _begins(each[::-1], suffix[::-1])]
    cut = sorted({tuple(each[:max_depth]) for each in found})
    return [list(each) for each in cut[offset : offset + limit]]


def _below(owner_id: int, prefix: list[str]) -> QuerySet[StoreItem]:
    mine = StoreItem.objects.filter(owner=owner_id)
    return mine.filter(**{f"namespace__0_{len(prefix)}": prefix}) if prefix else mine


def _begins(labels: Sequence[str], pattern: Sequence[str]) -> bool:
    if len(labels) < len(pattern):
        return False
    return all(wanted in (label, ANY) for label, wanted in zip(labels, pattern, strict=False))


def _condition(name: str, wanted: Any) -> Q:
    """Of one key of the value: equal, or as the operators in `wanted` say."""
    operators = (
        wanted if isinstance(wanted, dict) and any(key[:1] == "$" for key in wanted) else {"$eq": wanted}
    )
    condition = Q()
    for operator, operand in operators.items():
        # Not a look-up by name: the name comes from outside, and would be read as Django's own words.
        at, given = KeyTransform(name, "value"), Value(operand, JSONField())
        if operator == "$ne":
            condition &= ~Q(Exact(at, given))
        elif operator in COMPARED:
            condition &= Q(COMPARED[operator](at, given))
        else:
            known = ", ".join([*COMPARED, "$ne"])
            raise BadItem(_("filter: an operator is one of %(names)s.") % {"names": known})
    return condition


def _checked(namespace: Sequence[str], key: str = "") -> list[str]:
    labels = list(namespace)
    is_named = all(isinstance(label, str) and 0 < len(label) <= LABEL_CHARS for label in labels)
    if not is_named or len(labels) > LABELS or any("." in label for label in labels):
        raise BadItem(
            _("A namespace has at most %(labels)s labels, each of 1 to %(chars)s characters without a dot.")
            % {"labels": LABELS, "chars": LABEL_CHARS}
        )
    _refuse_unholdable([*labels, key])
    if sum(len(name.encode()) for name in (*labels, key)) > NAME_BYTES or len(key) > 255:
        raise BadItem(_("Namespace and key are too long."))
    return labels


def _check_value(value: Any) -> None:
    if not isinstance(value, dict):
        raise BadItem(_("A value is an object."))
    _refuse_unholdable(value)
    if len(json.dumps(value, ensure_ascii=False)) > VALUE_CHARS:
        raise BadItem(_("A value has at most %(limit)s characters as JSON.") % {"limit": VALUE_CHARS})


def _refuse_unholdable(value: Any) -> None:
    try:
        strict_json.refuse_unholdable(value)
    except ValueError as error:
        raise BadItem(_("This can't be stored: %(why)s") % {"why": error}) from error
