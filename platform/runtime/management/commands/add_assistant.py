"""`manage.py add_assistant GRAPH`: offers a registered graph to people."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtime.models import Assistant, assistant_id_for


class Command(BaseCommand):
    help = "Offers a graph of COUNTERSIGN_GRAPHS to people as an assistant. Repeating it changes the name."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("graph")
        parser.add_argument("--name", default="", help="what people see; the graph's id by default")
        parser.add_argument("--description", default="")

    def handle(self, *, graph: str, name: str, description: str, **_: Any) -> None:
        if graph not in settings.COUNTERSIGN_GRAPHS:
            known = ", ".join(sorted(settings.COUNTERSIGN_GRAPHS))
            raise CommandError(
                f"No graph is registered as {graph!r}. Registered: {known}. See COUNTERSIGN_GRAPHS."
            )
        fields = {"graph_id": graph, "name": name or graph, "description": description}
        assistant, is_new = Assistant.objects.update_or_create(pk=assistant_id_for(graph), defaults=fields)
        self.stdout.write(f"{'Added' if is_new else 'Changed'} assistant {assistant.name} ({assistant.pk}).")
