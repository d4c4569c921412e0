"""Which assistants there are, what their graphs take, and changing them, for those who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

from accounts.scopes import Scope
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from runtime import assistants as doors
from runtime import calls
from runtime.assistants import Said
from runtime.exceptions import AssistantExists, NoWorker
from runtime.models import Assistant

from apps.chat.assistants import named, offered
from apps.chat.langgraph import inputs, shapes
from apps.chat.langgraph.bodies import (
    AssistantCreate,
    AssistantFilter,
    AssistantLatest,
    AssistantPatch,
    AssistantSearch,
    AssistantVersions,
)
from apps.chat.langgraph.http import (
    ApiRequest,
    Problem,
    answered,
    body_of,
    flag,
    nothing,
    open_to,
    paged,
    selected,
)

READ, CHANGE = open_to(Scope.CHAT, Scope.ASSISTANTS), open_to(Scope.ASSISTANTS)

SORTED_BY = {
    "assistant_id": "pk",
    "graph_id": "graph_id",
    "name": "name",
    "created_at": "created_at",
    "updated_at": "updated_at",
}


@READ
def search(request: ApiRequest) -> HttpResponse:
    body = body_of(request, AssistantSearch)
    found = _found(body)
    rows = [shapes.of_assistant(each) for each in in_order(found, body, SORTED_BY, "created_at")]
    return paged(selected(rows, body.select), total=found.count(), offset=body.offset)


@READ
def count(request: ApiRequest) -> HttpResponse:
    return answered(_found(body_of(request, AssistantFilter)).count())


def _found(body: AssistantFilter) -> QuerySet[Assistant]:
    found = offered()
    if body.metadata:
        found = found.filter(metadata__contains=body.metadata)
    if body.graph_id:
        found = found.filter(graph_id=body.graph_id)
    if body.name:
        found = found.filter(name__icontains=body.name)
    return found


def in_order(found: Any, body: Any, known: dict[str, str], usual: str) -> Any:
    """The page of `found` that the search asks for, newest first where it does not say."""
    name = body.sort_by or usual
    if name not in known:
        raise Problem(_("sort_by: one of %(names)s.") % {"names": ", ".join(known)})
    sign = "" if body.sort_order == "asc" else "-"
    return found.order_by(f"{sign}{known[name]}", "pk")[body.offset : body.offset + body.limit]


@READ
def show(request: ApiRequest, assistant_id: str) -> HttpResponse:
    return answered(shapes.of_assistant(_get(assistant_id)))


@READ
def schemas(request: ApiRequest, assistant_id: str) -> HttpResponse:
    assistant = _get(assistant_id)
    return answered({"graph_id": assistant.graph_id, **_described(assistant)["schemas"]})


@READ
def graph(request: ApiRequest, assistant_id: str) -> HttpResponse:
    return answered(_described(_get(assistant_id))["graph"])


@READ
def subgraphs(request: ApiRequest, assistant_id: str, namespace: str = "") -> HttpResponse:
    assistant = _get(assistant_id)
    recurse = flag(request, "recurse")
    found = calls.ask(
        "subgraphs", assistant_id=str(assistant.pk), namespace=namespace[:200] or None, recurse=recurse
    )
    return answered(found)


@READ
def versions(request: ApiRequest, assistant_id: str) -> HttpResponse:
    """Newest first."""
    body = body_of(request, AssistantVersions)
    found = _get(assistant_id).versions.order_by("-number")
    if body.metadata:
        found = found.filter(metadata__contains=body.metadata)
    rows = [shapes.of_version(each) for each in found[body.offset : body.offset + body.limit]]
    return paged(rows, total=found.count(), offset=body.offset)


@CHANGE
def create(request: ApiRequest) -> HttpResponse:
    body = body_of(request, AssistantCreate)
    said = _said(body)
    said["metadata"] = {"created_by": "user", **said.get("metadata", {})}
    assistant_id = body.assistant_id or uuid4()
    try:
        made = doors.create(assistant_id, said)
    except (AssistantExists, IntegrityError) as refusal:  # of two at once, the second finds the first's row
        known = offered().filter(pk=assistant_id).first()
        if body.if_exists == "raise" or known is None:
            raise Problem(_("Assistant %(id)s exists already.") % {"id": assistant_id}, 409) from refusal
        made = known
    return answered(shapes.of_assistant(made))


@CHANGE
def change(request: ApiRequest, assistant_id: str) -> HttpResponse:
    """What comes replaces what was there; of the metadata, key by key."""
    body = body_of(request, AssistantPatch)
    assistant, said = _get(assistant_id), _said(body)
    with transaction.atomic():
        held = Assistant.objects.select_for_update().get(pk=assistant.pk)
        if body.metadata is not None:
            said["metadata"] = {**held.metadata, **body.metadata}
        changed = _by_door(doors.change, held.pk, said)
    return answered(shapes.of_assistant(changed))


@CHANGE
def latest(request: ApiRequest, assistant_id: str) -> HttpResponse:
    body = body_of(request, AssistantLatest)
    return answered(shapes.of_assistant(_by_door(doors.use_version, _get(assistant_id).pk, body.version)))


@CHANGE
def delete(request: ApiRequest, assistant_id: str) -> HttpResponse:
    """It is retired: people's threads with it are theirs, and stay."""
    if flag(request, "delete_threads"):
        raise Problem(_("delete_threads: threads are deleted by those they belong to."))
    _by_door(doors.retire, _get(assistant_id).pk)
    return nothing()


def _by_door(door: Callable[..., Any], *args: Any) -> Any:
    try:
        return door(*args)
    except Assistant.DoesNotExist as gone:  # since a moment ago
        raise Http404 from gone


def _said(body: AssistantPatch) -> Said:
    if body.context is not None and body.config and body.config.configurable:
        raise Problem(_("Send either context or config.configurable, not both."), 400)
    said = body.model_dump(
        include={"graph_id", "name", "description", "context", "metadata"}, exclude_none=True
    )
    if body.config is not None:
        said["config"] = inputs.config(body.config)
    return cast(Said, said)


def _described(assistant: Assistant) -> Any:
    """As a worker tells it now; without a worker, as one last told it."""
    try:
        return calls.ask("describe", assistant_id=str(assistant.pk))
    except NoWorker:
        if assistant.description_of_graph is None:
            raise
        return assistant.description_of_graph


def _get(name: str) -> Assistant:
    assistant = named(name)
    if assistant is None:
        raise Http404
    return assistant
