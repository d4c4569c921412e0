"""For the templates of the queue."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from django import template
from django.utils.safestring import SafeString
from runtime.models import ToolCall

from apps.approvals import changes, columns, page, visible
from apps.approvals.models import ApprovalRequest
from apps.approvals.permissions import VIEW, decidable

register = template.Library()


@register.filter(name="visible")
def visible_text(text: object) -> SafeString:
    """The text escaped, and what can't be seen in it written as escapes."""
    return visible.visible(str(text))


@register.filter
def pill(request: ApprovalRequest) -> SafeString:
    return columns.pill(request)


@register.filter
def age(request: ApprovalRequest) -> SafeString:
    return columns.age(request)


@register.filter
def expiry(request: ApprovalRequest) -> SafeString:
    return columns.expiry(request)


register.filter("since", columns.since)
register.filter("risk", columns.risk)
register.filter("progress", columns.progress)
register.filter("ended", columns.ended)
register.filter("as_it_stands", changes.as_it_stands)


@register.inclusion_tag("admin/approvals/_badge.html")
def approvals_badge(user: Any) -> dict[str, Any]:
    """The link to the queue with the number that waits for this person; empty for who may not see it."""
    if not isinstance(user, User) or not user.has_perm(VIEW):
        return {"may_view": False}
    return {"may_view": True, "waiting": decidable(user).count()}


@register.filter
def arguments_line(tool_call: ToolCall) -> SafeString:
    """The arguments in one short line."""
    return page.arguments_line(tool_call)
