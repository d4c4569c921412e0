"""A person's store: what their programs, and the graphs that run for them, keep beyond one thread."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _
from runtime import store
from runtime.models import StoreItem

from apps.chat.langgraph.bodies import ItemName, ItemPut, ItemSearch, NamespaceSearch
from apps.chat.langgraph.http import ApiRequest, Problem, answered, body_of, nothing
from apps.chat.langgraph.threads import refuse_unsupported


def put(request: ApiRequest) -> HttpResponse:
    body = body_of(request, ItemPut)
    refuse_unsupported(body, "ttl")
    store.put(request.user.pk, body.namespace, body.key, body.value)
    return nothing()


def show(request: ApiRequest) -> HttpResponse:
    """The item, or null: what is not there is no error."""
    labels = [label for text in request.GET.getlist("namespace") for label in text.split(".")]
    key = request.GET.get("key")
    if not key or not any(labels):
        raise Problem(_("An item needs a namespace and a key."))
    found = store.get(request.user.pk, labels, key)
    return answered(_shape(found) if found else None)


def delete(request: ApiRequest) -> HttpResponse:
    body = body_of(request, ItemName)
    store.delete(request.user.pk, body.namespace, body.key)
    return nothing()


def search(request: ApiRequest) -> HttpResponse:
    body = body_of(request, ItemSearch)
    refuse_unsupported(body, "query")
    found = store.search(
        request.user.pk,
        body.namespace_prefix,
        filter=body.filter,
        limit=body.limit,
        offset=body.offset,
    )
    return answered({"items": [{**_shape(item), "score": None} for item in found]})


def namespaces(request: ApiRequest) -> HttpResponse:
    body = body_of(request, NamespaceSearch)
    found = store.namespaces(
        request.user.pk,
        prefix=body.prefix or [],
        suffix=body.suffix or [],
        max_depth=body.max_depth,
        limit=body.limit,
        offset=body.offset,
    )
    return answered({"namespaces": found})


def _shape(item: StoreItem) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at.isoformat(),
        "updated_at": item.updated_at.isoformat(),
    }
