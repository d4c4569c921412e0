"""How the audit's pages show a value."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apps.observability.timeline import Step


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
