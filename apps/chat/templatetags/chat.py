"""Small things templates ask for."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from runtime.models import Thread

from apps.chat import markdown, sidebar

register = template.Library()

THEMES = ("light", "dark")
DAY = 24 * 3600  # seconds
STATUSES = {
    "waiting": lambda: _("Waiting for approval"),
    "running": lambda: _("Running"),
    "failed": lambda: _("Failed"),
    "idle": lambda: _("Idle"),
}


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> str:
    """The theme the person chose; empty follows the system."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme", "") if request else ""
    return chosen if chosen in THEMES else ""


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing that says nothing the text beside it does not say."""
    drawing = f"{static('img/icons.svg')}#{name}"
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}"></use></svg>', drawing
    )


@register.filter
def from_markdown(text: str) -> SafeString:
    return markdown.render(text)


@register.simple_tag(takes_context=True)
def budgets_left(context: template.Context) -> list[str]:
    """A sentence for each budget that the reader's turns are paid from."""
    request = context.get("request")
    return sidebar.budgets_left(request.user) if request and request.user.is_authenticated else []


@register.filter
def status(thread: Thread) -> str:
    return sidebar.status_of(thread)


@register.filter
def status_name(status: str) -> str:
    return STATUSES[status]()


@register.filter
def age(at: datetime) -> str:
    """How long ago, in one short word; the day when that is more than a week."""
    seconds = (timezone.now() - at).total_seconds()
    if seconds < 60:
        return _("now")
    units = ((60, 3600, _("%(n)d min")), (3600, DAY, _("%(n)d h")), (DAY, 7 * DAY, _("%(n)d d")))
    for unit, limit, text in units:
        if seconds < limit:
            return text % {"n": seconds // unit}
    return date_format(timezone.localtime(at), "SHORT_DATE_FORMAT")


@register.simple_tag
def moment(at: datetime) -> SafeString:
    """The moment; ago.js makes "5 minutes ago" of it and keeps that true."""
    written = date_format(timezone.localtime(at), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}" data-ago>{}</time>', at.isoformat(), written, written)


@register.filter
def seconds(span: timedelta | None) -> str:
    """A duration as people say it; empty when there is none."""
    if span is None:
        return ""
    total = span.total_seconds()
    if total < 1:
        return _("%(n)d ms") % {"n": total * 1000}
    return _("%(n).1f s") % {"n": total} if total < 60 else _("%(n)d min") % {"n": total // 60}
