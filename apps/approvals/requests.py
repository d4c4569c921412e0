"""Asking: a request is opened, reminded of, escalated, asked anew when its rule has changed, and expires."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts import roles
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from runtime import audit, runs
from runtime.database import in_pages
from runtime.models import ToolCall, ToolState

from apps.approvals import notifications
from apps.approvals.matching import digest_of_all, matching_rule
from apps.approvals.models import ApprovalRequest, PolicyRule, RequestStatus, RuleVersion
from apps.approvals.permissions import eligible_in
from apps.approvals.policy import asking_rule
from apps.approvals.turns import each_in_turn, in_turn, tell

_policy_seen = ""  # what all rules said when this process last held the requests without a rule against them


def open_request(tool_call: ToolCall, question: str) -> ApprovalRequest:
    """Asks those whom the rule names as it is now. Only a question for permission can expire."""
    rule = asking_rule(tool_call)
    is_permission = question == ApprovalRequest.Question.PERMISSION
    terms = _terms(rule, is_permission) if rule else {}
    if not is_permission and not _asks_somebody(rule):
        terms["approvers"] = default_approvers()
    request = ApprovalRequest.objects.create(tool_call=tool_call, question=question, rule=rule, **terms)
    notifications.announce(request, "opened")
    return request


def _asks_somebody(rule: PolicyRule | None) -> bool:
    return rule is not None and (rule.approvers_id is not None or rule.people.exists())


def default_approvers() -> Group | None:
    """Who settles what became of a call that was cut off, where no rule says who: a person has to."""
    return Group.objects.filter(name=roles.APPROVERS).first()


def _terms(rule: PolicyRule, is_permission: bool) -> dict[str, Any]:
    return {
        "version": rule.version(),
        "approvers": rule.approvers,
        "risk": rule.risk,
        "quorum": rule.quorum,
        "expires_at": rule.after(rule.expires_after) if is_permission else None,
        "remind_at": rule.after(rule.remind_after),
    }


def look_at_deadlines() -> None:
    """What is due is done: reminders, escalations, expiry. Safe to repeat, and from several processes at once."""
    waiting = ApprovalRequest.objects.filter(status=RequestStatus.PENDING)
    each_in_turn(waiting.filter(remind_at__lte=Now()), _remind)
    each_in_turn(waiting.filter(expires_at__lte=Now()), _expire)
    _ask_where_rules_changed(waiting)
    _ask_where_rules_came(waiting)


@transaction.atomic
def ask_anew_now(request_id: UUID) -> None:
    """For whoever found that the policy has changed."""
    in_turn(ApprovalRequest.objects.filter(status=RequestStatus.PENDING), request_id, ask_anew)


def _remind(request: ApprovalRequest) -> None:
    ApprovalRequest.objects.filter(pk=request.pk).update(remind_at=None)
    audit.append("approval_request.reminded", subject=request)
    notifications.announce(request, "reminded")


def _expire(request: ApprovalRequest) -> None:
    rule = request.rule
    if rule is not None and _escalates(rule, request):
        ApprovalRequest.objects.filter(pk=request.pk).update(
            approvers=rule.escalate_to,
            escalated_at=Now(),
            expires_at=rule.after(rule.expires_after),
            remind_at=rule.after(rule.remind_after),
        )
        request.refresh_from_db(fields=["approvers", "escalated_at"])
        audit.append(
            "approval_request.escalated", subject=request, after={"approvers": str(rule.escalate_to)}
        )
        notifications.announce(request, "escalated")
        tell()
        return
    request.close(RequestStatus.EXPIRED, in_time=False)
    reason = _("Nobody decided in time.")
    if request.tool_call.advance(ToolState.EXPIRED, reason=reason, finished_at=Now()):
        runs.resume(request.tool_call)


def _escalates(rule: PolicyRule, request: ApprovalRequest) -> bool:
    """Once, and only to a group in which somebody could decide."""
    if request.escalated_at is not None or rule.on_expiry != PolicyRule.OnExpiry.ESCALATE:
        return False
    count = eligible_in(rule.escalate_to, request.tool_call.user_id) if rule.escalate_to else 0
    return count >= request.quorum


def _ask_where_rules_changed(waiting: QuerySet[ApprovalRequest]) -> None:
    """A decision is bound to what the rule said: where that has changed, the question is asked anew."""
    in_use = RuleVersion.objects.filter(pk__in=waiting.values("version")).select_related("rule")
    for version in in_use:
        if version.rule is None or not version.is_current:
            each_in_turn(waiting.filter(version=version), ask_anew)


def _ask_where_rules_came(waiting: QuerySet[ApprovalRequest]) -> None:
    """No rule asked about these when they were last looked at: a question of a graph, a call whose rule was off."""
    global _policy_seen
    unbound = waiting.filter(version__isnull=True, question=ApprovalRequest.Question.PERMISSION)
    if not unbound.exists() or (policy := digest_of_all()) == _policy_seen:
        return
    for request in in_pages(unbound.select_related("tool_call__assistant")):
        rule = matching_rule(request.tool_call)
        if rule is not None and rule.verdict == PolicyRule.Verdict.ASK:
            in_turn(unbound, request.pk, ask_anew)
    _policy_seen = policy


def ask_anew(request: ApprovalRequest) -> None:
    """In place of `request` another one, by the rule as it is now; the call waits on."""
    rule = matching_rule(request.tool_call)
    if rule is None or rule.verdict != PolicyRule.Verdict.ASK:
        # Nothing to ask anew. Whoever decides, the policy has the last word before anything runs.
        left = {"approvers": default_approvers()} if _asks_nobody_now(request) else {}
        ApprovalRequest.objects.filter(pk=request.pk).update(version=None, **left)
        audit.append("approval_request.unbound", subject=request, reason="No policy rule asks about it.")
        return
    request.close(RequestStatus.SUPERSEDED, in_time=False)
    audit.append("approval_request.superseded", subject=request, reason="The policy has changed.")
    open_request(request.tool_call, request.question)
    tell()


def _asks_nobody_now(request: ApprovalRequest) -> bool:
    """An outcome that was for people named by a rule that is gone, or for a group that is."""
    return request.question == ApprovalRequest.Question.OUTCOME and request.approvers_id is None
