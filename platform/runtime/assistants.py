"""What programs, commands and the admin's buttons do to an assistant. Each change is a version, and audited."""

from __future__ import annotations

from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from runtime import masking
from runtime.exceptions import AssistantExists, BadAssistant
from runtime.models import Assistant, AssistantVersion
from runtime.models.assistants import VERSIONED


class Said(TypedDict, total=False):
    """What a version says; what is left out stays as it is."""

    graph_id: str
    name: str
    description: str
    config: dict[str, Any]
    context: dict[str, Any]
    metadata: dict[str, Any]


@transaction.atomic
def create(assistant_id: UUID, said: Said) -> Assistant:
    """A new one, or one that was retired, anew. Raises BadAssistant, and AssistantExists for one that is in use."""
    # Not get_or_create: of two that make it at once, one is told that it exists.
    known = Assistant.objects.select_for_update().filter(pk=assistant_id).first()
    if known is not None and known.retired_at is None:
        raise AssistantExists(_("Assistant %(id)s exists already.") % {"id": assistant_id})
    assistant = known or Assistant(pk=assistant_id)
    usual: Said = {"description": "", "config": {}, "context": {}, "metadata": {}}
    _say(assistant, {**usual, **said})
    assistant.name = said.get("name") or assistant.graph_id
    assistant.is_active, assistant.retired_at = True, None
    assistant.save()
    return assistant


@transaction.atomic
def change(assistant_id: UUID, said: Said) -> Assistant:
    """What is said in it is its newest version. Raises BadAssistant, and Assistant.DoesNotExist."""
    assistant = Assistant.objects.select_for_update().get(pk=assistant_id, retired_at=None)
    _say(assistant, said)
    assistant.save()
    return assistant


@transaction.atomic
def offer(assistant_id: UUID, said: Said) -> tuple[Assistant, bool]:
    """Makes it, or changes what is said and takes it back into use; whether it is new. Raises BadAssistant."""
    known = Assistant.objects.select_for_update().filter(pk=assistant_id).first()
    if known is None:
        return create(assistant_id, said), True
    _say(known, said)
    if known.retired_at is not None:
        known.is_active, known.retired_at = True, None
    known.save()
    return known, False


@transaction.atomic
def use_version(assistant_id: UUID, number: int) -> Assistant:
    """Goes back, or forward, to that one: what begins from now on is performed with it."""
    assistant = Assistant.objects.select_for_update().get(pk=assistant_id, retired_at=None)
    version = AssistantVersion.objects.filter(assistant=assistant, number=number).first()
    if version is None:
        raise BadAssistant(_("There is no version %(number)s of this assistant.") % {"number": number})
    _check_graph(assistant, version.graph_id)
    for name in VERSIONED:
        setattr(assistant, name, getattr(version, name))
    assistant.version = number
    assistant.save()
    return assistant


@transaction.atomic
def retire(assistant_id: UUID) -> None:
    """Nothing is begun with it any more. What was begun goes on, and can be read."""
    assistant = Assistant.objects.select_for_update().get(pk=assistant_id, retired_at=None)
    assistant.is_active, assistant.retired_at = False, Now()
    assistant.save()


def _say(assistant: Assistant, said: Said) -> None:
    if "graph_id" in said:
        _check_graph(assistant, said["graph_id"])
    plain: dict[str, Any] = dict(said)
    values: list[masking.Values] = []
    for name in {"config", "context"} & plain.keys():
        plain[name], held = masking.taken(plain[name])
        values.append(held)
    # A program that reads it, changes something else and sends it back sends the marks.
    assistant.sealed = masking.kept(*values, with_=assistant.sealed)
    for name, value in plain.items():
        setattr(assistant, name, masking.masked(value) if name == "metadata" else value)


def _check_graph(assistant: Assistant, graph_id: str) -> None:
    """Only those of the settings; and whose threads hold the state of one graph has that for good."""
    if graph_id not in settings.COUNTERSIGN_GRAPHS:
        known = ", ".join(sorted(settings.COUNTERSIGN_GRAPHS))
        raise BadAssistant(
            _("There is no graph %(name)s. Known are: %(known)s.") % {"name": graph_id[:100], "known": known}
        )
    if graph_id == assistant.graph_id or assistant._state.adding:
        return
    if assistant.threads.exists() or assistant.runs.exists():
        raise BadAssistant(
            _("Threads were begun with this assistant: its graph stays. Make another assistant.")
        )
