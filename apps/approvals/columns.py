"""The queue's columns. What a model or a person wrote is always escaped, with nothing invisible left in it."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import admin
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.approvals import visible
from apps.approvals.arguments import ordered
from apps.approvals.models import ApprovalRequest

ARGUMENT_SHORT = 120  # characters of one value in a list; the decision page shows all of it
WHY_SHORT = 160  # characters of the model's reasons in a list
TEXT_SHORT = 60
JUST_NOW = timedelta(minutes=1)

# A sign for each status, so that it does not hang on colour alone.
SIGNS = {
    "pending": "●",
    "approved": "✓",
    "rejected": "✕",
    "responded": "✎",
    "expired": "⌛",
    "cancelled": "↩",
    "superseded": "↪",
}


@admin.display(description=gettext_lazy("request"), ordering="tool_call__tool")
def tool(request: ApprovalRequest) -> SafeString:
    name = visible.visible(request.tool_call.tool)
    if request.question == ApprovalRequest.Question.OUTCOME:
        return format_html('{} <span class="tag">{}</span>', name, _("cut off: what became of it?"))
    return name


@admin.display(description=gettext_lazy("arguments"))
def arguments(request: ApprovalRequest) -> SafeString:
    call = request.tool_call
    if not call.args:
        return format_html('<span class="quiet">{}</span>', _("none"))
    names = ordered(call.args, call.args_schema)
    rows = ((visible.visible(name), visible.value(call.args[name], limit=ARGUMENT_SHORT)) for name in names)
    return format_html(
        '<dl class="arguments">{}</dl>', format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", rows)
    )


@admin.display(description=gettext_lazy("who asks"), ordering="tool_call__user__username")
def requester(request: ApprovalRequest) -> SafeString:
    call = request.tool_call
    return format_html(
        '<strong>{}</strong><div class="quiet">{}</div><div class="quiet">{}</div>',
        visible.visible(str(call.user)),
        visible.visible(call.assistant.name),
        _short(str(call.thread), TEXT_SHORT),
    )


@admin.display(description=gettext_lazy("why (model's words, unchecked)"))
def why(request: ApprovalRequest) -> SafeString:
    if not request.tool_call.why:
        return format_html('<span class="quiet">{}</span>', _("It gave no reason."))
    return format_html('<q class="untrusted">{}</q>', _short(request.tool_call.why, WHY_SHORT))


@admin.display(description=gettext_lazy("asked"), ordering="created_at")
def asked(request: ApprovalRequest) -> SafeString:
    return format_html('{}<div class="quiet">{}</div>', age(request), expiry(request))


def age(request: ApprovalRequest) -> SafeString:
    return _time(request.created_at, since(request.created_at))


def expiry(request: ApprovalRequest) -> SafeString:
    """How long a request that waits may still wait; empty when it waits for ever, or no longer."""
    if not request.is_pending or request.expires_at is None:
        return SafeString("")
    left = timeuntil(request.expires_at, depth=1)
    is_late = request.expires_at <= timezone.now()
    words = _("expired") if is_late else _("expires in %(time)s") % {"time": left}
    return format_html('<span class="expiry">{}</span>', _time(request.expires_at, words))


def _time(moment: datetime, words: str) -> SafeString:
    absolute = date_format(localtime(moment), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), absolute, words)


def since(moment: datetime) -> str:
    if timezone.now() - moment < JUST_NOW:
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(moment, depth=1)}


@admin.display(description=gettext_lazy("status"), ordering="status")
def status(request: ApprovalRequest) -> SafeString:
    by = _("by %(person)s") % {"person": request.decided_by} if request.decided_by else ""
    return format_html('{}<div class="quiet">{}</div>', pill(request), visible.visible(by))


def pill(request: ApprovalRequest) -> SafeString:
    return format_html(
        '<span class="pill pill--{}"><span aria-hidden="true">{}</span> {}</span>',
        request.status,
        SIGNS.get(request.status, "•"),
        request.get_status_display(),
    )


def _short(text: str, limit: int) -> SafeString:
    if len(text) <= limit:
        return visible.visible(text)
    return format_html("{}…", visible.visible(text[: limit - 1]))
