"""What a person picks when a thread begins."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

# The namespace of LangGraph's own servers, so a graph has the same default assistant id everywhere.
ASSISTANT_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def assistant_id_for(graph_id: str) -> uuid.UUID:
    return uuid.uuid5(ASSISTANT_NAMESPACE, graph_id)


class Assistant(models.Model):
    """A configured graph: what a person picks when a thread begins."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    graph_id = models.CharField(_("graph"), max_length=100)
    name = models.CharField(_("name"), max_length=100)
    description = models.TextField(_("description"), blank=True)
    starters = models.JSONField(_("starters"), default=list, blank=True)
    """Up to four messages offered when a thread is empty: a list of strings."""
    config = models.JSONField(_("configuration"), default=dict, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    description_of_graph = models.JSONField(_("description of the graph"), null=True, blank=True)
    """Its schemas and its drawing, as a worker last told them: `{"schemas": …, "graph": …}`."""
    is_active = models.BooleanField(_("offered to people"), default=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("assistant")
        verbose_name_plural = _("assistants")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
