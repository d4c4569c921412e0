"""The assistants that programs may begin runs of, as they name them."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet
from runtime.models import Assistant, assistant_id_for


def offered() -> QuerySet[Assistant]:
    return Assistant.objects.filter(is_active=True)


def named(name: str) -> Assistant | None:
    """By its id, or by its graph: then the one that every LangGraph server has by default, or the first."""
    try:
        return offered().filter(pk=UUID(name)).first()
    except ValueError:
        default = offered().filter(Q(pk=assistant_id_for(name)), graph_id=name).first()
        return default or offered().filter(graph_id=name).order_by("created_at").first()


def default() -> Assistant | None:
    """The one for who names none."""
    return offered().order_by("name").first()
