"""Two pages beside a rule's: what the policy says to a call, and what a change would have changed."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from accounts.models import User
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse
from runtime.models import ToolCall

from apps.approvals.models import PolicyRule
from apps.approvals.permissions import VIEW, person
from apps.approvals.try_form import TryForm, from_call, known_tools
from apps.approvals.tryout import Changed, Comparison, explained

EXAMPLES = 10
VIEW_CALL = "runtime.view_toolcall"


def may_see_calls(user: User) -> bool:
    return user.has_perm(VIEW) or user.has_perm(VIEW_CALL)


def try_context(request: HttpRequest) -> dict[str, Any]:
    user = person(request)
    form = TryForm(
        request.POST or None, user=user, may_ask_for_others=may_see_calls(user), initial=_chosen(request)
    )
    context: dict[str, Any] = {"form": form, "tools": known_tools(), "examples": _examples(user)}
    if form.is_valid():
        call = form.as_call()
        result = explained(call)
        context |= {"call": call, "result": result, "verdict": label(result.verdict)}
    return context


def _examples(user: User) -> list[ToolCall]:
    """Other people's arguments, only for who may see them anyway."""
    if not may_see_calls(user):
        return []
    newest = ToolCall.objects.select_related("user", "assistant").order_by("-created_at")
    return list(newest[:EXAMPLES])


def _chosen(request: HttpRequest) -> dict[str, Any]:
    try:
        pk = UUID(request.GET.get("call", ""))
    except ValueError:
        return {}
    chosen = ToolCall.objects.select_related("user").filter(pk=pk).first()
    return from_call(chosen) if chosen and may_see_calls(person(request)) else {}


class Line(NamedTuple):
    call: ToolCall
    before: str
    after: str
    url: str
    """Of the page about this call; empty for who may not see it."""


def compare_context(comparison: Comparison, user: User, site: AdminSite) -> dict[str, Any]:
    listed = comparison.listed if may_see_calls(user) else []
    return {
        "comparison": comparison,
        "counts": [(label(before), label(after), count) for before, after, count in comparison.counts],
        "lines": [_line(each, user, site) for each in listed],
        "is_list_cut": 0 < len(listed) < len(comparison.changed),
    }


def _line(changed: Changed, user: User, site: AdminSite) -> Line:
    call = changed.call
    return Line(call, label(changed.before), label(changed.after), _url(call, user, site))


def _url(call: ToolCall, user: User, site: AdminSite) -> str:
    asked = sorted(call.approval_requests.all(), key=lambda request: request.created_at)
    if asked and user.has_perm(VIEW):
        return reverse("admin:approvals_approvalrequest_change", args=[asked[-1].pk])
    if site.is_registered(ToolCall) and user.has_perm(VIEW_CALL):
        return reverse("admin:runtime_toolcall_change", args=[call.pk])
    return ""


def label(verdict: str) -> str:
    return str(PolicyRule.Verdict(verdict).label)
