"""What the decision page shows: the call as it would run, and everything around it a decision needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from accounts.models import User
from django.http import QueryDict
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from runtime import ledger
from runtime.models import CallKind, Effect, Message, ToolCall

from apps.approvals import grants, outcomes, visible
from apps.approvals.answers import AnswerForm
from apps.approvals.arguments import ordered
from apps.approvals.forms import ArgumentsForm, DecisionForm, decision_form
from apps.approvals.grant_form import GrantForm
from apps.approvals.models import ApprovalRequest, RequestStatus, Way
from apps.approvals.permissions import Right, may_override, objection_to, right_to

WIDE = {"is_nav_sidebar_enabled": False}
"""For pages that need the width: the breadcrumbs lead everywhere."""
MESSAGES = 10
HISTORY = 5


IF_RUN_TWICE = {
    Effect.NONE.value: gettext_lazy("Nothing: it changes nothing."),
    Effect.IDEMPOTENT.value: gettext_lazy("Nothing more: it takes effect once."),
    Effect.RECONCILE.value: gettext_lazy("It may happen twice; the tool can find out."),
    Effect.ONCE.value: gettext_lazy("It happens twice."),
}


class Argument(NamedTuple):
    name: SafeString
    value: SafeString
    proposed: SafeString
    """What the model wrote, when a person has changed it since; else empty."""


class Say(NamedTuple):
    """What somebody has to say to a request, now."""

    may_decide: bool
    objection: str
    """Why they may not decide on it, whether it waits or not; empty when they may."""
    has_approved: bool
    """And others still have to."""


def say_of(user: User, request: ApprovalRequest) -> Say:
    objection = objection_to(user, request)
    has_approved = request.is_pending and request.approvals.filter(voter=user).exists()
    return Say(request.is_pending and not objection and not has_approved, objection, has_approved)


def context(
    request: ApprovalRequest,
    user: User,
    *,
    posted: DecisionForm | None = None,
    filled_in: ArgumentsForm | None = None,
    grant_form: GrantForm | None = None,
) -> dict[str, Any]:
    call = request.tool_call
    say = say_of(user, request)
    return {
        "approval": request,
        "call": call,
        "is_question": call.kind == CallKind.QUESTION,
        "is_by_graph": call.kind != CallKind.CALL,
        "is_outcome": request.question == ApprovalRequest.Question.OUTCOME,
        "objection": say.objection,
        "may_decide": say.may_decide,
        "may_override": request.is_pending and may_override(user, request),
        "has_approved": say.has_approved,
        "allowed": outcomes.allowed(request),
        "needs_reason": outcomes.needs_reason(request),
        "votes": request.votes.select_related("voter", "principal"),
        "approvals": request.approvals.count(),
        "grant_form": grant_form or _grant_form(user, request),
        "args": arguments(call),
        "if_run_twice": IF_RUN_TWICE.get(call.effect, ""),
        "canonical": visible.visible(ledger.canonical(call.args)),
        "thread_messages": _messages(call),
        "calls_of_requester": _history(call, user=call.user_id, sensitive=True),
        "calls_of_tool": _history(call, tool=call.tool),
        "earlier": _earlier(request),
        "form": posted or decision_form(request),
        "arguments_form": filled_in or arguments_form(call),
        "open_box": posted.data.get("decision", "") if posted else "",
    }


def arguments_form(call: ToolCall, data: QueryDict | None = None) -> ArgumentsForm:
    """The form for what is filled in: arguments to run instead, or the answer to a question."""
    if call.kind == CallKind.QUESTION:
        return AnswerForm(call.args_schema, data)
    return ArgumentsForm(call.args, call.args_schema, data)


def _grant_form(user: User, request: ApprovalRequest) -> GrantForm | None:
    """For who may decide by their own right, where the policy lets them decide on many at once."""
    right = right_to(user, request)
    is_own = isinstance(right, Right) and right.via == Way.RULE
    if not request.is_pending or not is_own or not grants.may_be_granted(request):
        return None
    return GrantForm(request.tool_call)


def heading(request: ApprovalRequest) -> str:
    call = request.tool_call
    words = {"person": call.user, "tool": call.tool}
    if request.question == ApprovalRequest.Question.OUTCOME:
        return _("%(tool)s was cut off while it ran for %(person)s") % words
    if call.kind == CallKind.QUESTION:
        return _("%(person)s's assistant asks a question") % words
    if request.is_pending:
        return _("%(person)s's assistant wants to run %(tool)s") % words
    return _("%(person)s's assistant wanted to run %(tool)s") % words


def arguments(call: ToolCall) -> list[Argument]:
    """Every argument in full, beside the model's own where they differ."""
    names = [
        *ordered(call.args, call.args_schema),
        *(name for name in call.proposed_args if name not in call.args),
    ]
    return [Argument(visible.visible(name), _value(call.args, name), _changed(call, name)) for name in names]


def _value(args: dict[str, Any], name: str) -> SafeString:
    return visible.value(args[name]) if name in args else SafeString("")


def _changed(call: ToolCall, name: str) -> SafeString:
    # As texts: 1 == True == 1.0 in Python, and the tool sees the difference.
    before, now = _value(call.proposed_args, name), _value(call.args, name)
    return before if before != now else SafeString("")


def _messages(call: ToolCall) -> list[Message]:
    newest = Message.objects.filter(thread=call.thread_id).order_by("-created_at", "-pk")[:MESSAGES]
    return list(reversed(newest))


def _history(call: ToolCall, **same: Any) -> Iterable[ToolCall]:
    """The last other calls that have the same."""
    others = ToolCall.objects.filter(**same).exclude(pk=call.pk).order_by("-created_at")
    return others.select_related("user", "decided_by")[:HISTORY]


def _earlier(request: ApprovalRequest) -> Iterable[ApprovalRequest]:
    others = ApprovalRequest.objects.filter(tool_call=request.tool_call_id).exclude(pk=request.pk)
    return others.select_related("decided_by").order_by("created_at")


def summary(call: ToolCall) -> SafeString:
    """Enough to know which one is meant: tool, arguments in short, requester."""
    return format_html(
        _("{tool} ({args}) for {person}"),
        tool=visible.visible(call.tool),
        args=arguments_line(call),
        person=visible.visible(str(call.user)),
    )


def arguments_line(call: ToolCall) -> SafeString:
    """The arguments in one short line."""
    names = ordered(call.args, call.args_schema)
    pairs = ((visible.visible(name), visible.value(call.args[name], limit=40)) for name in names)
    return format_html_join(", ", "{} {}", pairs)


def outcome(request: ApprovalRequest) -> SafeString:
    """The message after a decision: what was decided, on what."""
    request.refresh_from_db(fields=["status"])
    request.tool_call.refresh_from_db(fields=["args", "args_digest", "decision"])
    if request.status == RequestStatus.SUPERSEDED:
        return format_html(
            _("Changed: {}. Another rule is about it now, and asks whom it names."),
            summary(request.tool_call),
        )
    if request.is_pending:
        return format_html(
            _("Your approval counts: {} of {} for {}."),
            request.approvals.count(),
            request.quorum,
            summary(request.tool_call),
        )
    if request.tool_call.kind == CallKind.QUESTION and request.tool_call.decision == "respond":
        return format_html(_("Answered: {}."), summary(request.tool_call))
    words = {
        ("permission", "approve"): _("Approved: {}."),
        ("permission", "edit"): _("Approved with changes: {}."),
        ("permission", "respond"): _("Answered in the tool's place: {}."),
        ("permission", "reject"): _("Rejected: {}."),
        ("outcome", "approve"): _("To be run again: {}."),
        ("outcome", "respond"): _("Its result was recorded: {}."),
        ("outcome", "reject"): _("Marked as failed: {}."),
    }
    return format_html(words[request.question, request.tool_call.decision], summary(request.tool_call))
