"""Decides on a waiting tool call from a shell, as a person who may."""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import UUID

from accounts.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from runtime.exceptions import RuntimeRefusal
from runtime.schemas import Decision

from apps.approvals.decisions import decide_request
from apps.approvals.models import ApprovalRequest, DecisionKind


class Command(BaseCommand):
    help = "Decide on an approval request, with all the checks of the page: nobody gains a right by it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "request", type=UUID, help="Id of the approval request: the end of its page's address."
        )
        parser.add_argument("decision", choices=DecisionKind.values)
        parser.add_argument("--as", dest="person", required=True, help="User name of the person who decides.")
        parser.add_argument("--message", default="", help="Reason, answer or note.")
        parser.add_argument("--args", default="", help="edit: all arguments to run instead, as JSON.")
        parser.add_argument("--override", action="store_true", help="Break-glass; needs the permission.")

    def handle(self, **options: Any) -> None:
        user = User.objects.filter(username=options["person"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['person']!r}.")
        request = ApprovalRequest.objects.select_related("tool_call").filter(pk=options["request"]).first()
        if request is None:
            raise CommandError("There is no such approval request.")
        try:
            call = decide_request(user, request.pk, _decision(request, options))
        except RuntimeRefusal as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{call.tool}: {call.get_state_display()}")


def _decision(request: ApprovalRequest, options: dict[str, Any]) -> Decision:
    """On the arguments as they are now: the command has no page that could have shown others."""
    decision: dict[str, Any] = {
        "type": options["decision"],
        "message": options["message"],
        "digest": request.tool_call.args_digest,
        "override": options["override"],
    }
    if options["decision"] == DecisionKind.EDIT:
        try:
            decision["args"] = json.loads(options["args"])
        except ValueError as error:
            raise CommandError(f"--args is no JSON: {error}") from error
    return cast(Decision, decision)
