"""What must be true of approval requests and the calls they are about. `manage.py verify_invariants` looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from runtime.database import in_pages
from runtime.invariants import check
from runtime.models import UNSETTLED, Run, ToolCall

from apps.approvals.models import ApprovalRequest, RequestStatus

# What a closed request must say when its call bears this decision. "reject" of an outcome is a rejected request too.
STATUS_OF = {
    "approve": RequestStatus.APPROVED,
    "edit": RequestStatus.APPROVED,
    "reject": RequestStatus.REJECTED,
    "respond": RequestStatus.RESPONDED,
    "withdraw": RequestStatus.CANCELLED,
}
# After which the turn goes on. A withdrawn request is told by its call: one that was cancelled with it does not.
SETTLED = (
    RequestStatus.APPROVED,
    RequestStatus.REJECTED,
    RequestStatus.RESPONDED,
    RequestStatus.EXPIRED,
)


def _subject(tool_call: ToolCall) -> str:
    return f"tool call {tool_call.pk}"


@check("request-not-open")
def _waiting_without_request() -> Iterator[tuple[str, str]]:
    pending = Count("approval_requests", filter=Q(approval_requests__status=RequestStatus.PENDING))
    for call in ToolCall.objects.filter(state__in=UNSETTLED).annotate(pending=pending).filter(pending=0):
        yield _subject(call), f"is {call.state}, but nobody is asked about it."


@check("request-left-open")
def _request_without_waiting() -> Iterator[tuple[str, str]]:
    pending = ApprovalRequest.objects.filter(status=RequestStatus.PENDING)
    for request in pending.exclude(tool_call__state__in=UNSETTLED).select_related("tool_call"):
        yield (
            _subject(request.tool_call),
            f"is {request.tool_call.state}, but people are still asked about it.",
        )


@check("decision-not-recorded")
def _decisions_without_request() -> Iterator[tuple[str, str]]:
    """The newest request is the one that the call's decision answered: earlier ones asked something else."""
    newest = ApprovalRequest.objects.filter(tool_call=OuterRef("pk")).order_by("-created_at")
    calls = ToolCall.objects.exclude(decision="").exclude(state__in=UNSETTLED)
    said: QuerySet[Any] = calls.annotate(
        said=Subquery(newest.values("status")[:1]), by=Subquery(newest.values("decided_by")[:1])
    )
    for call in in_pages(said):
        expected = STATUS_OF.get(call.decision)
        if call.said != expected or call.by != call.decided_by_id:
            yield (
                _subject(call),
                f"bears the decision {call.decision}, its request is {call.said or 'missing'}.",
            )


@check("decision-without-resume")
def _resumes_of_decisions() -> Iterator[tuple[str, str]]:
    """Every decision, and every deadline that passed, woke the graph once; nothing else did."""
    resumes = Run.objects.filter(command__resume__has_key="tool_call").order_by()
    resumed = dict(
        resumes.values_list("command__resume__tool_call")
        .annotate(count=Count("pk"))
        .values_list("command__resume__tool_call", "count")
    )
    asked = ToolCall.objects.filter(approval_requests__isnull=False)
    settled = Count("approval_requests", filter=Q(approval_requests__status__in=SETTLED))
    counted: QuerySet[Any] = asked.annotate(settled=settled)
    for call in in_pages(counted):
        expected = call.settled + (call.decision == "withdraw")
        found = resumed.get(str(call.pk), 0)
        if found != expected:
            yield _subject(call), f"was settled {expected} times and resumed {found} times."
