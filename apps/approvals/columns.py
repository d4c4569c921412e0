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
from runtime.models import ToolCall

from apps.approvals import visible
from apps.approvals.arguments import ordered
from apps.approvals.models import ApprovalRequest, Risk

ARGUMENT_SHORT = 120  # characters of one value in a list; the decision page shows all of it
WHY_SHORT = 160  # characters of the model's reasons in a list
TEXT_SHORT = 60
RESULT_SHORT = 120
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


RISK_SIGNS = {Risk.LOW: "▽", Risk.NORMAL: "◇", Risk.HIGH: "▲"}


@admin.display(description=gettext_lazy("risk"), ordering="risk")
def risk(request: ApprovalRequest) -> SafeString:
    return format_html(
        '{}<span class="risk risk--{}"><span aria-hidden="true">{}</span> {}</span>',
        _card_label(_("risk")),
        request.risk,
        RISK_SIGNS.get(Risk(request.risk), ""),
        request.get_risk_display(),
    )


@admin.display(description=gettext_lazy("request"), ordering="tool_call__tool")
def tool(request: ApprovalRequest) -> SafeString:
    tags = [progress(request)]
    if request.question == ApprovalRequest.Question.OUTCOME:
        tags.append(_("cut off: what became of it?"))
    if request.escalated_at and request.is_pending:
        tags.append(_("escalated"))
    shown = format_html_join("", ' <span class="tag">{}</span>', ((tag,) for tag in tags if tag))
    return format_html("{}{}", visible.visible(request.tool_call.tool), shown)


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
    return format_html("{}{}", _card_label(_("asked")), age(request))


def _card_label(text: str) -> SafeString:
    """For phones, where a row is a card without the columns' headers."""
    return format_html('<span class="card-label">{} </span>', text)


def age(request: ApprovalRequest) -> SafeString:
    return _time(request.created_at, since(request.created_at))


@admin.display(description=gettext_lazy("expires in"), ordering="expires_at")
def expires(request: ApprovalRequest) -> SafeString:
    label = _card_label(_("expires in"))
    if not request.is_pending or request.expires_at is None:
        return format_html('{}<span class="quiet">{}</span>', label, _("never"))
    left = timeuntil(request.expires_at, depth=1)
    return format_html("{}{}", label, _countdown(request.expires_at, "{time}", left))


def expiry(request: ApprovalRequest) -> SafeString:
    """How long a request that waits may still wait; empty when it waits for ever, or no longer."""
    if not request.is_pending or request.expires_at is None:
        return SafeString("")
    left = timeuntil(request.expires_at, depth=1)
    return _countdown(request.expires_at, _("expires in {time}"), _("expires in %(time)s") % {"time": left})


def _countdown(moment: datetime, pattern: str, words: str) -> SafeString:
    """Ticks where there is JavaScript (approvals-countdown.js), and is right when it was drawn where there is none."""
    return format_html(
        '<time class="expiry" datetime="{}" title="{}" data-countdown="{}" data-over="{}">{}</time>',
        moment.isoformat(),
        _absolute(moment),
        pattern,
        _("expired"),
        _("expired") if moment <= timezone.now() else words,
    )


def _absolute(moment: datetime) -> str:
    return date_format(localtime(moment), "DATETIME_FORMAT")


def _time(moment: datetime, words: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), _absolute(moment), words
    )


def since(moment: datetime) -> str:
    if timezone.now() - moment < JUST_NOW:
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(moment, depth=1)}


def progress(request: ApprovalRequest) -> str:
    """The approvals so far, where more than one is needed: those of the arguments as they are."""
    if request.quorum < 2 or not request.is_pending:
        return ""
    count = sum(map(request.counts, request.votes.all()))
    return _("%(count)s of %(quorum)s approvals") % {"count": count, "quorum": request.quorum}


@admin.display(description=gettext_lazy("decision"), ordering="decided_at")
def decided(request: ApprovalRequest) -> SafeString:
    by = _("by %(person)s") % {"person": request.decided_by} if request.decided_by else ""
    when = _time(request.decided_at, since(request.decided_at)) if request.decided_at else ""
    return format_html(
        '{}<div class="quiet">{}</div><div class="quiet">{}</div>', pill(request), visible.visible(by), when
    )


@admin.display(description=gettext_lazy("what came of it"), ordering="tool_call__finished_at")
def outcome(request: ApprovalRequest) -> SafeString:
    return ended(request.tool_call)


def ended(call: ToolCall) -> SafeString:
    """The state of the call, since when, and its result or error in short."""
    moment = call.finished_at or call.started_at
    when = format_html(' <span class="quiet">{}</span>', _time(moment, since(moment))) if moment else ""
    state = format_html('<span class="tag tag--{}">{}</span>{}', call.state, call.get_state_display(), when)
    said = call.error or call.result
    if not said:
        return state
    return format_html('{}<div class="quiet">{}</div>', state, _short(said, RESULT_SHORT))


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
