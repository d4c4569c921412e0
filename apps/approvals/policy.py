"""The policy port's implementation: rules in the database."""

from __future__ import annotations

from django.utils.translation import gettext as _
from runtime.models import CallKind, ToolCall, ToolState
from runtime.policy import Verdict

from apps.approvals import grants, stranded
from apps.approvals.matching import matching_rule
from apps.approvals.models import ApprovalRequest, Delegation, PolicyRule, RequestStatus, Vote, Way
from apps.approvals.permissions import confirms_alone, eligible, eligible_in, may_override, standing


def asking_rule(tool_call: ToolCall) -> PolicyRule | None:
    """The rule that says who is asked: the one that asks now, else the one the call was judged by.

    None for a question that no rule wants somebody else to answer.
    """
    rule = matching_rule(tool_call)
    if rule is not None and rule.verdict == PolicyRule.Verdict.ASK:
        return rule
    if tool_call.kind == CallKind.QUESTION:
        return None
    return PolicyRule.objects.filter(name=tool_call.policy).select_related("approvers").first()


def judge(tool_call: ToolCall) -> Verdict:
    rule = matching_rule(tool_call)
    verdict = _verdict(rule, tool_call)
    if rule is None or verdict.kind != "ask" or rule.verdict != PolicyRule.Verdict.ASK:
        return verdict
    if tool_call.kind == CallKind.QUESTION and rule.quorum > 1:
        return Verdict(
            "deny",
            rule=rule.name,
            reason=_("A question takes one answer, but the rule wants several people."),
        )
    if grant := grants.use(tool_call, rule):
        return Verdict("allow", rule=_("grant of %(person)s") % {"person": grant.created_by})
    if tool_call.state == ToolState.PROPOSED and not _can_be_decided(rule, tool_call):
        return Verdict("deny", rule=rule.name, reason=stranded.refuse(tool_call, rule))
    return verdict


def _can_be_decided(rule: PolicyRule, tool_call: ToolCall) -> bool:
    """Nothing is asked of nobody: it would wait for ever."""
    if rule.requester_confirms or eligible(rule, tool_call.user_id) >= rule.quorum:
        return True
    to = rule.escalate_to if rule.on_expiry == PolicyRule.OnExpiry.ESCALATE else None
    return to is not None and eligible_in(to, tool_call.user_id) >= rule.quorum


def _verdict(rule: PolicyRule | None, tool_call: ToolCall) -> Verdict:
    if tool_call.kind == CallKind.QUESTION and (rule is None or rule.verdict == PolicyRule.Verdict.ALLOW):
        # To let a graph ask is not to answer it: that is for the person who talks to it.
        return Verdict("ask", rule=rule.name if rule else "")
    if rule is None and tool_call.sensitive:
        return Verdict(
            "deny",
            rule="no rule",
            reason=_("No policy rule is about this tool. An administrator can add one under Policy rules."),
        )
    if rule is None:
        return Verdict("allow", rule="not sensitive")
    match rule.verdict:
        case PolicyRule.Verdict.ALLOW:
            return Verdict("allow", rule=rule.name)
        case PolicyRule.Verdict.ASK:
            return Verdict("ask", rule=rule.name)
        case _:
            return Verdict("deny", rule=rule.name)


def objection(tool_call: ToolCall) -> str:
    """Asked again just before the effect: the rules and the approvers as they are now."""
    rule = matching_rule(tool_call)
    verdict = _verdict(rule, tool_call)
    if verdict.kind == "deny":
        return verdict.reason or _("The policy denies this tool by now.")
    if rule is None or verdict.kind == "allow":
        return ""
    request = (
        tool_call.approval_requests.filter(status=RequestStatus.APPROVED)
        .select_related("version")
        .order_by("-decided_at")
        .first()
    )
    if request is None:
        return "" if grants.use(tool_call, rule) else _("Nobody has approved it.")
    request.tool_call = tool_call
    problem = _no_longer_stands(request, rule)
    return _("The approval no longer stands: %(why)s") % {"why": problem} if problem else ""


def _no_longer_stands(request: ApprovalRequest, rule: PolicyRule) -> str:
    """Why what was approved may not run any more; empty when it may."""
    if request.version is None or rule.digest() != request.version.digest:
        return _("the policy has changed since.")
    votes = list(request.approvals)
    if request.via == Way.BREAK_GLASS:
        if any(vote.via == Way.BREAK_GLASS and may_override(vote.voter, request) for vote in votes):
            return ""
        return _("who overrode the policy may no longer do that.")
    for vote in votes:
        if problem := _lapsed(vote, request):
            return _("%(person)s: %(problem)s") % {"person": vote.voter, "problem": problem}
    return "" if len(votes) >= request.quorum else _("too few people approved these arguments.")


def _lapsed(vote: Vote, request: ApprovalRequest) -> str:
    """A vote stands while its voter could still cast it. That a delegation has ended by its date changes nothing."""
    stand = {pk: standing(pk, request) for pk in {vote.voter_id, vote.principal_id}}
    if not all(each.is_active for each in stand.values()):
        return _("the account is switched off.")
    if vote.via == Way.CONFIRM:
        return "" if confirms_alone(request) else _("the requester may no longer confirm alone.")
    if not all(each.may_decide for each in stand.values()):
        return _("the permission to decide is missing.")
    if vote.via == Way.DELEGATE and not _was_delegated(vote):
        return _("the delegation was ended.")
    return "" if stand[vote.principal_id].is_asked else _("is no longer among those who are asked.")


def _was_delegated(vote: Vote) -> bool:
    """In force when the vote was cast, and not ended early since."""
    at = {"starts_at__lte": vote.created_at, "ends_at__gt": vote.created_at}
    given = Delegation.objects.filter(delegator=vote.principal, delegate=vote.voter, **at)
    return given.filter(revoked_at__isnull=True).exists()
