"""A notification in words: plain text in which, as on the decision page, nothing can hide."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.conf import settings
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from apps.approvals.arguments import ordered
from apps.approvals.models import ApprovalRequest
from apps.approvals.notifications.models import Delivery, Kind
from apps.approvals.visible import is_shapeless

VALUE_SHORT = 120  # characters of one argument
ARGUMENTS_SHORT = 12  # how many of them
LINE_SHORT = 200


def plain(text: str) -> str:
    """One line of `text`, every character without a shape written as its escape, bounded."""
    shown = "".join(_shown(char) for char in text)
    return shown if len(shown) <= LINE_SHORT else f"{shown[: LINE_SHORT - 1]}…"


def _shown(char: str) -> str:
    if char == "\n" or is_shapeless(char):
        return char.encode("unicode_escape", "surrogatepass").decode()
    return char


@dataclass(frozen=True)
class Notice:
    """What templates and formats ask of one delivery that is about a request. In the active language."""

    delivery: Delivery
    request: ApprovalRequest

    @property
    def headline(self) -> str:
        words = {"person": self.requester, "tool": self.tool, "by": self.decider}
        match self.delivery.kind:
            case Kind.OPENED if self.request.question == ApprovalRequest.Question.OUTCOME:
                return _("%(tool)s was cut off while it ran for %(person)s: what became of it?") % words
            case Kind.OPENED:
                return _("%(person)s asks for %(tool)s") % words
            case Kind.REMINDED:
                return _("Still waiting: %(person)s asks for %(tool)s") % words
            case Kind.ESCALATED:
                return _("Handed on to you: %(person)s asks for %(tool)s") % words
            case Kind.EXPIRING:
                return _("About to expire: %(person)s asks for %(tool)s") % words
            case Kind.EXPIRED:
                return _("Expired, nobody decided: %(person)s asked for %(tool)s") % words
            case Kind.STRANDED if self.request.is_pending:
                return _("Nobody could decide on it: %(person)s asks for %(tool)s") % words
            case Kind.STRANDED:
                return _("Refused, nobody could have decided: %(person)s asked for %(tool)s") % words
            case Kind.BREAK_GLASS:
                return _("Forced in an emergency: %(tool)s for %(person)s") % words
            case _:
                words["status"] = self.request.get_status_display()
                return _("%(tool)s for %(person)s: %(status)s by %(by)s") % words

    @property
    def tool(self) -> str:
        return plain(self.request.tool_call.tool)

    @property
    def requester(self) -> str:
        return plain(str(self.request.tool_call.user))

    @property
    def assistant(self) -> str:
        return plain(self.request.tool_call.assistant.name)

    @property
    def decider(self) -> str:
        return plain(str(self.request.decided_by or _("nobody")))

    @property
    def group(self) -> str:
        return plain(str(self.request.approvers or ""))

    @cached_property
    def arguments(self) -> list[tuple[str, str]]:
        call = self.request.tool_call
        names = ordered(call.args, call.args_schema)
        pairs = [(plain(name), _value(call.args[name])) for name in names[:ARGUMENTS_SHORT]]
        return pairs if len(names) <= ARGUMENTS_SHORT else [*pairs, ("…", _("and more: see the page"))]

    @property
    def since(self) -> str:
        return _moment(self.request.created_at)

    @property
    def until(self) -> str:
        """Empty when it waits for ever."""
        return _moment(self.request.expires_at) if self.request.expires_at else ""

    @property
    def url(self) -> str:
        return absolute(reverse("admin:approvals_approvalrequest_change", args=[self.request.pk]))


def notices_of(deliveries: list[Delivery]) -> list[Notice]:
    return [Notice(each, each.request) for each in deliveries if each.request is not None]


def queue_url() -> str:
    return absolute(reverse("admin:approvals_approvalrequest_changelist"))


def absolute(path: str) -> str:
    return f"{str(settings.PUBLIC_URL).rstrip('/')}{path}"


def _value(value: object) -> str:
    text = plain(json.dumps(value, ensure_ascii=False, sort_keys=True))
    return text if len(text) <= VALUE_SHORT else f"{text[:VALUE_SHORT]}…"


def _moment(moment: datetime) -> str:
    zone = localtime(moment)
    return f"{date_format(zone, 'DATETIME_FORMAT')} ({zone.tzname()})"
