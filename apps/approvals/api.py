"""`/api/v1/approvals`: the queue and the decision page for programs. Nothing here judges: the service does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.callers import CallerAuth, caller_of
from accounts.exceptions import Forbidden
from accounts.models import User
from accounts.problems import bodied, problems
from accounts.scopes import Scope
from django.contrib import admin
from django.db.models.expressions import Combinable
from django.http import Http404, HttpRequest
from ninja import Query, Router, Status

from apps.approvals import comments, queue, shapes
from apps.approvals.bodies import GivenComment, GivenDecision, Listed
from apps.approvals.decisions import decide_request
from apps.approvals.filters import Requests, whose_turn_it_is, with_status
from apps.approvals.models import ApprovalRequest
from apps.approvals.permissions import may_view

router = Router(tags=["approvals"], auth=CallerAuth(Scope.APPROVE))

ORDERS: dict[str, list[str | Combinable]] = {
    "newest": ["-created_at", "-pk"],
    "oldest": ["created_at", "pk"],
    "expiry": ["expires_at", "created_at", "pk"],
}
# Of the size of a tool's choosing: a list of a hundred would hold megabytes that it does not tell.
LONG_TEXTS = [
    f"tool_call__{name}"
    for name in ("args", "proposed_args", "args_schema", "why", "preview", "result", "error")
]


@router.get("", response={200: shapes.Rows, **problems(422)}, summary="List requests")
def index(request: HttpRequest, asked: Query[Listed]) -> Any:
    """What the queue shows. While requests come and go a page may repeat or miss one: read from the start again."""
    rows = _wanted(request, _viewer(request), asked)
    found = list(rows[asked.offset : asked.offset + asked.limit + 1])
    following = asked.offset + asked.limit if len(found) > asked.limit else None
    return {"items": [shapes.row(each) for each in found[: asked.limit]], "next_offset": following}


@router.get("/{request_id}", response={200: shapes.Approval, **problems(404, 422)}, summary="Read a request")
def show(request: HttpRequest, request_id: UUID) -> Any:
    """All that a decision needs, and its outcome once it is made."""
    user = _viewer(request)
    return shapes.whole(_found(request_id), user)


@router.post(
    "/{request_id}/decide",
    response={200: shapes.Approval, **bodied(404, 409)},
    summary="Decide on a request",
)
def decide(request: HttpRequest, request_id: UUID, given: GivenDecision) -> Any:
    """The request as it is afterwards: where several have to approve, it may wait on.

    409: decided, expired or asked anew meanwhile, or the arguments are others than `digest` is of; read it again.
    403: the caller may not decide on this one. 422: a reason is missing, or arguments or an answer are wrong.
    """
    user = _viewer(request)
    approval = _found(request_id)
    decide_request(user, approval.pk, given.root.said(approval.tool_call))
    return shapes.whole(_found(request_id), user)


@router.post(
    "/{request_id}/comments", response={201: shapes.Remark, **bodied(404)}, summary="Comment on a request"
)
def comment(request: HttpRequest, request_id: UUID, given: GivenComment) -> Any:
    """For whoever else may decide on it. The requester neither reads nor writes comments."""
    user = _viewer(request)
    approval = _found(request_id)
    if not comments.may_read(user, approval):
        raise Forbidden()
    return Status(201, shapes.remark(comments.add(approval, user, given.text)))


def _viewer(request: HttpRequest) -> User:
    """Who calls, if the queue in the admin is open to them as well."""
    user = caller_of(request).user
    if not may_view(user):
        raise Forbidden()
    return user


def _found(request_id: UUID) -> ApprovalRequest:
    requests = ApprovalRequest.objects.select_related(
        "tool_call__user", "tool_call__assistant", "approvers", "decided_by", "version"
    )
    found = requests.prefetch_related("votes").filter(pk=request_id).first()
    if found is None:
        raise Http404
    return found


def in_lists() -> Requests:
    """With all that a row tells, in a number of queries that does not grow with the rows."""
    requests = ApprovalRequest.objects.select_related("tool_call__user", "tool_call__assistant", "decided_by")
    return requests.prefetch_related("votes").defer(*LONG_TEXTS)


def _wanted(request: HttpRequest, user: User, asked: Listed) -> Requests:
    rows = with_status(in_lists(), asked.status)
    if asked.mine:
        rows = whose_turn_it_is(rows, user)
    if asked.tool:
        rows = rows.filter(tool_call__tool=asked.tool)
    if asked.assistant:
        rows = rows.filter(tool_call__assistant__graph_id=asked.assistant)
    if asked.risk:
        rows = rows.filter(risk=shapes.RISKS[asked.risk])
    if asked.search:
        pages = admin.site.get_model_admin(ApprovalRequest)
        rows, _ = pages.get_search_results(request, rows, asked.search)
    waits = asked.status == "pending"
    return rows.order_by(*ORDERS.get(asked.order) or queue.order_of(waiting=waits))
