"""Which assistants there are, and what their graphs take."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from runtime import calls
from runtime.exceptions import NoWorker
from runtime.models import Assistant

from apps.chat.assistants import named, offered
from apps.chat.langgraph import shapes
from apps.chat.langgraph.bodies import AssistantSearch
from apps.chat.langgraph.http import ApiRequest, Problem, answered, body_of, paged, selected

SORTED_BY = {
    "assistant_id": "pk",
    "graph_id": "graph_id",
    "name": "name",
    "created_at": "created_at",
    "updated_at": "updated_at",
}


def search(request: ApiRequest) -> HttpResponse:
    body = body_of(request, AssistantSearch)
    found = offered()
    if body.metadata:
        found = found.filter(metadata__contains=body.metadata)
    if body.graph_id:
        found = found.filter(graph_id=body.graph_id)
    if body.name:
        found = found.filter(name__icontains=body.name)
    rows = [shapes.of_assistant(each) for each in in_order(found, body, SORTED_BY, "created_at")]
    return paged(selected(rows, body.select), total=found.count(), offset=body.offset)


def in_order(found: Any, body: Any, known: dict[str, str], usual: str) -> Any:
    """The page of `found` that the search asks for, newest first where it does not say."""
    name = body.sort_by or usual
    if name not in known:
        raise Problem(_("sort_by: one of %(names)s.") % {"names": ", ".join(known)})
    sign = "" if body.sort_order == "asc" else "-"
    return found.order_by(f"{sign}{known[name]}", "pk")[body.offset : body.offset + body.limit]


def show(request: ApiRequest, assistant_id: str) -> HttpResponse:
    return answered(shapes.of_assistant(_get(assistant_id)))


def schemas(request: ApiRequest, assistant_id: str) -> HttpResponse:
    assistant = _get(assistant_id)
    return answered({"graph_id": assistant.graph_id, **_described(assistant)["schemas"]})


def graph(request: ApiRequest, assistant_id: str) -> HttpResponse:
    return answered(_described(_get(assistant_id))["graph"])


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
