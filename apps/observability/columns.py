"""How the audit's pages show a value."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from runtime.models import AuditEvent

from apps.observability.timeline import Step

if TYPE_CHECKING:
    from django.db.models import QuerySet


def pill(state: str, label: str) -> SafeString:
    """The word is always there: colour alone says nothing to some."""
    return format_html('<span class="pill pill--{}">{}</span>', state, label)


def text_block(text: str) -> SafeString | str:
    return format_html('<pre class="audit-text">{}</pre>', text) if text else "-"


def json_block(value: Any) -> SafeString | str:
    return text_block(json.dumps(value, ensure_ascii=False, indent=2))


def seconds(duration: timedelta | None) -> str:
    return (
        _("%(seconds)s s") % {"seconds": number_format(duration.total_seconds(), 3)}
        if duration is not None
        else "-"
    )


def listed(model: str, label: str, **filters: Any) -> SafeString:
    """A link to the list of `model` with these filters set."""
    url = reverse(
        f"admin:runtime_{model}_changelist", query={key: str(value) for key, value in filters.items()}
    )
    return format_html('<a href="{}">{}</a>', url, label)


def steps_block(steps: list[Step]) -> SafeString:
    began = steps[0].at if steps else None
    rows = ((f"{(step.at - began).total_seconds():+.3f} s", step.event, step.text) for step in steps if began)
    return format_html(
        '<ol class="audit-steps">{}</ol>',
        format_html_join("", '<li><code>{} {}</code><pre class="audit-text">{}</pre></li>', rows),
    )


def events_block(events: QuerySet[AuditEvent]) -> SafeString | str:
    """What the audit tells of one row, oldest first, each with a link to its page."""
    rows = [
        (
            reverse("admin:runtime_auditevent_change", args=[event.pk]),
            f"{event.seq}",
            f"{localtime(event.at):%Y-%m-%d %H:%M:%S}" if event.at else "",
            event.action,
            event.actor,
        )
        for event in events.order_by("seq")
    ]
    items = format_html_join("", '<li><a href="{}">{}</a> <code>{}</code> {} {}</li>', rows)
    return format_html('<ul class="audit-events">{}</ul>', items) if rows else "-"


def changes_block(before: dict[str, Any] | None, after: dict[str, Any] | None) -> SafeString | str:
    """Each field on a line, before and after side by side."""
    names = sorted({*(before or {}), *(after or {})})
    rows = ((name, _cell(before, name), _cell(after, name)) for name in names)
    body = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>', rows)
    head = format_html(
        '<tr><th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th></tr>',
        _("field"),
        _("before"),
        _("after"),
    )
    table = '<div class="audit-changes"><table><thead>{}</thead><tbody>{}</tbody></table></div>'
    return format_html(table, head, body) if names else "-"


def _cell(values: dict[str, Any] | None, name: str) -> SafeString | str:
    if values is None or name not in values:
        return ""
    value = values[name]
    return text_block(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
