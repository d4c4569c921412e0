"""The store of whoever a run is for, as graphs and tools know stores: `runtime.store`, in LangGraph's words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from runtime import store
from runtime.context import current_run
from runtime.database import in_database, in_unit
from runtime.models import StoreItem


class PersonalStore(BaseStore):
    """Holds nothing itself: whose items it finds is decided by the run that asks."""

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return in_unit(lambda: _carried_out(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await in_database(_carried_out, list(ops))


def _carried_out(ops: list[Op]) -> list[Result]:
    owner_id = current_run.get().run.user_id
    return [_one(owner_id, op) for op in ops]


def _one(owner_id: int, op: Op) -> Result:
    match op:
        case GetOp():
            found = store.get(owner_id, op.namespace, op.key)
            return Item(**_fields(found)) if found else None
        case PutOp(value=None):
            store.delete(owner_id, op.namespace, op.key)
            return None
        case PutOp():
            store.put(owner_id, op.namespace, op.key, dict(op.value or {}))
            return None
        case SearchOp():
            items = store.search(
                owner_id, op.namespace_prefix, filter=op.filter, limit=op.limit, offset=op.offset
            )
            return [SearchItem(**_fields(item)) for item in items]
        case ListNamespacesOp():
            return _namespaces(owner_id, op)
    raise NotImplementedError(type(op).__name__)


def _namespaces(owner_id: int, op: ListNamespacesOp) -> list[tuple[str, ...]]:
    paths: dict[str, Any] = {each.match_type: each.path for each in op.match_conditions or ()}
    found = store.namespaces(
        owner_id,
        prefix=paths.get("prefix", ()),
        suffix=paths.get("suffix", ()),
        max_depth=op.max_depth,
        limit=op.limit,
        offset=op.offset,
    )
    return [tuple(each) for each in found]


def _fields(item: StoreItem) -> dict[str, Any]:
    return {
        "namespace": tuple(item.namespace),
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }
