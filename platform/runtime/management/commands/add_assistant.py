"""`manage.py add_assistant GRAPH`: offers a registered graph to people."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtime import assistants
from runtime.exceptions import BadAssistant
from runtime.models import assistant_id_for


class Command(BaseCommand):
    help = (
        "Offers a graph of COUNTERSIGN_GRAPHS to people as an assistant. Repeating it changes what is given."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("graph")
        parser.add_argument("--name", help="what people see; the graph's id by default")
        parser.add_argument("--description")

    def handle(self, *, graph: str, name: str | None, description: str | None, **_: Any) -> None:
        if graph not in settings.COUNTERSIGN_GRAPHS:
            known = ", ".join(sorted(settings.COUNTERSIGN_GRAPHS))
            raise CommandError(
                f"No graph is registered as {graph!r}. Registered: {known}. See COUNTERSIGN_GRAPHS."
            )
        _try(graph)
        said: assistants.Said = {"graph_id": graph}
        if name is not None:
            said["name"] = name
        if description is not None:
            said["description"] = description
        try:
            assistant, is_new = assistants.offer(assistant_id_for(graph), said)
        except BadAssistant as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{'Added' if is_new else 'Changed'} assistant {assistant.name} ({assistant.pk}).")


def _try(graph: str) -> None:
    """Builds it once: what can't be built is said here, not to the first person who asks."""
    from langgraph.checkpoint.memory import InMemorySaver

    from runtime.graphs import Graphs

    try:
        Graphs(InMemorySaver()).get(graph)
    except Exception as error:
        path = settings.COUNTERSIGN_GRAPHS[graph]
        raise CommandError(f"The graph at {path} can't be built: {type(error).__name__}: {error}") from error
