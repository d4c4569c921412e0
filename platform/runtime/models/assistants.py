"""What a person picks when a thread begins, and what it said at each time."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models import F, Max
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

# The namespace of LangGraph's own servers, so a graph has the same default assistant id everywhere.
ASSISTANT_NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def assistant_id_for(graph_id: str) -> uuid.UUID:
    return uuid.uuid5(ASSISTANT_NAMESPACE, graph_id)


# What a version holds: how a run is performed, and what people are told it is.
VERSIONED = ("graph_id", "name", "description", "config", "context", "metadata", "sealed")


class Versioned(models.Model):
    """The fields that a version keeps."""

    graph_id = models.CharField(_("graph"), max_length=100)
    name = models.CharField(_("name"), max_length=100)
    description = models.TextField(_("description"), blank=True)
    config = models.JSONField(_("configuration"), default=dict, blank=True)
    """Under what a run brings itself."""
    context = models.JSONField(_("context"), default=dict, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    sealed = models.TextField(blank=True, default="", db_default="", editable=False)
    """What stood in configuration and context in the place of each mark: `runtime.masking`."""

    class Meta:
        abstract = True

    def content(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in VERSIONED}


class Assistant(Versioned):
    """A configured graph: what a person picks when a thread begins. Saving what is new in it makes a version."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    starters = models.JSONField(_("starters"), default=list, blank=True)
    """Up to four messages offered when a thread is empty: a list of strings."""
    description_of_graph = models.JSONField(_("description of the graph"), null=True, blank=True)
    """Its schemas and its drawing, as a worker last told them: `{"schemas": …, "graph": …}`."""
    is_active = models.BooleanField(_("offered to people"), default=True)
    version = models.PositiveIntegerField(_("version"), default=0, editable=False)
    """The number of the one in use."""
    retired_at = models.DateTimeField(_("retired"), null=True, blank=True, editable=False)
    """Set when it is deleted: nothing is begun with it any more, and what was begun can be read."""
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("assistant")
        verbose_name_plural = _("assistants")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic(savepoint=False):
            is_new = self._takes_number(kwargs)
            super().save(*args, **kwargs)
            if is_new:
                AssistantVersion.objects.create(assistant=self, number=self.version, **self.content())

    def _takes_number(self, kwargs: dict[str, Any]) -> bool:
        """True when what is about to be saved is not what its version says: then it has the next number."""
        written = kwargs.get("update_fields")
        if written is not None and not set(written) & {*VERSIONED, "version"}:
            return False
        # Held until the end: of two who change it at once, each makes a version of their own.
        list(Assistant.objects.select_for_update().filter(pk=self.pk).values_list("pk"))
        known = AssistantVersion.objects.filter(assistant_id=self.pk)
        current = known.filter(number=self.version).first()
        if current is not None and current.content() == self.content():
            return False
        self.version = (known.aggregate(last=Max("number"))["last"] or 0) + 1
        if written is not None:
            kwargs["update_fields"] = {*written, "version"}
        return True


class AssistantVersion(Versioned):
    """What an assistant said at one time. Nobody changes it: runs name it."""

    assistant = models.ForeignKey(
        Assistant, models.CASCADE, related_name="versions", verbose_name=_("assistant")
    )
    number = models.PositiveIntegerField(_("version"))
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("version of an assistant")
        verbose_name_plural = _("versions of assistants")
        ordering: ClassVar = ["-number"]
        default_permissions: ClassVar = ["view"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["assistant", "number"], name="assistant_version_once")
        ]

    def __str__(self) -> str:
        return gettext("%(assistant)s, version %(number)s") % {"assistant": self.name, "number": self.number}

    @classmethod
    def in_use(cls, assistant_id: uuid.UUID) -> AssistantVersion | None:
        """With its assistant. None for one that was written past `save`."""
        found = cls.objects.filter(assistant=assistant_id, number=F("assistant__version"))
        return found.select_related("assistant").first()
