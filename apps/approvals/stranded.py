"""What nobody could decide on is not left waiting in silence: refused while it is new, else told of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from runtime import audit
from runtime.models import CallKind, ToolCall

from apps.approvals import notifications
from apps.approvals.models import ApprovalRequest, PolicyRule, RequestStatus
from apps.approvals.permissions import able_among
from apps.approvals.turns import each_in_turn, in_turn, tell

TERMS = ("approvers", "version", "version__content", "quorum", "question", "is_escalated")
ESCALATED = ExpressionWrapper(Q(escalated_at__isnull=False), BooleanField())
LATELY = timedelta(days=1)
SHOWN = 5  # requests in the banner of the queue
Question = ApprovalRequest.Question


def refuse(tool_call: ToolCall, rule: PolicyRule) -> str:
    """Records that the rule asks too few people about a new call, and tells who can help. The reason, for the call."""
    reason = _("Too few people may decide on this: see the policy rule.")
    request = ApprovalRequest.objects.create(
        tool_call=tool_call,
        question=Question.PERMISSION,
        rule=rule,
        version=rule.version(),
        approvers=rule.approvers,
        risk=rule.risk,
        quorum=rule.quorum,
        status=RequestStatus.CANCELLED,
        decided_at=Now(),
        stranded_at=Now(),
        reason=reason,
    )
    _alert(request, "approval_request.refused")
    return reason


def look() -> None:
    """Marks what waits and nobody could decide on (any more), and unmarks what somebody could by now."""
    waiting = ApprovalRequest.objects.filter(status=RequestStatus.PENDING)
    marked = waiting.filter(stranded_at__isnull=False)
    stuck = Q(pk__in=[])
    for terms in waiting.order_by().annotate(is_escalated=ESCALATED).values(*TERMS).distinct():
        stuck |= _stuck(terms)
    each_in_turn(waiting.filter(stuck, stranded_at__isnull=True), _strand)
    for pk in list(marked.exclude(stuck).values_list("pk", flat=True)):
        in_turn(marked, pk, _free)


def told_of() -> dict[str, list[ApprovalRequest]]:
    """For the queue of who can help: what waits in vain now, and what was refused for that in the last day."""
    alike = ApprovalRequest.objects.filter(stranded_at__isnull=False).select_related(
        "tool_call__user", "rule"
    )
    pending = Q(status=RequestStatus.PENDING)
    lately = Q(decided_by__isnull=True, status=RequestStatus.CANCELLED, decided_at__gt=Now() - LATELY)
    return {
        "stranded": list(alike.filter(pending).order_by("stranded_at")[:SHOWN]),
        "refused": list(alike.filter(lately).order_by("-decided_at")[:SHOWN]),
    }


def _stuck(terms: dict[str, Any]) -> Q:
    """Which of the requests with these terms nobody could decide on: it depends on who asked."""
    named = [] if terms["is_escalated"] else (terms["version__content"] or {}).get("people", [])
    able = able_among(terms["approvers"], named, at_most=terms["quorum"] + 1)
    if len(able) > terms["quorum"]:
        return Q(pk__in=[])
    alike = Q(quorum=terms["quorum"], question=terms["question"])
    alike &= Q(escalated_at__isnull=not terms["is_escalated"])
    alike &= _same("approvers", terms["approvers"]) & _same("version", terms["version"])
    if len(able) == terms["quorum"]:
        alike &= Q(tool_call__user__in=able)
    return alike & _not_for_the_requester(terms)


def _same(name: str, key: int | None) -> Q:
    return Q(**{f"{name}__isnull": True}) if key is None else Q(**{name: key})


def _not_for_the_requester(terms: dict[str, Any]) -> Q:
    """As `permissions.confirms_alone` has it: the person who asked may decide, while their account is on."""
    if terms["question"] != Question.PERMISSION:
        return Q()
    is_off = Q(tool_call__user__is_active=False)
    if terms["version"] is None:
        return is_off | ~Q(tool_call__kind=CallKind.QUESTION)
    return is_off if terms["version__content"]["requester_confirms"] else Q()


def _strand(request: ApprovalRequest) -> None:
    ApprovalRequest.objects.filter(pk=request.pk).update(stranded_at=Now())
    request.refresh_from_db(fields=["stranded_at"])
    _alert(request, "approval_request.stranded")


def _free(request: ApprovalRequest) -> None:
    ApprovalRequest.objects.filter(pk=request.pk).update(stranded_at=None)
    audit.append("approval_request.decidable", subject=request, thread_id=request.tool_call.thread_id)


def _alert(request: ApprovalRequest, action: str) -> None:
    audit.append(
        action,
        subject=request,
        after={"approvers": str(request.approvers or ""), "quorum": request.quorum},
        reason="Too few active people may decide.",
        thread_id=request.tool_call.thread_id,
    )
    notifications.announce(request, "stranded")
    tell()
