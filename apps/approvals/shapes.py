"""What programs are told by `/api/v1/approvals`: requests as the queue and the decision page show them."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from accounts.models import User
from ninja import Schema
from runtime.models import CallKind, Effect, ToolState

from apps.approvals import comments, outcomes, page
from apps.approvals.models import ApprovalRequest, Comment, DecisionKind, RequestStatus, Risk, Vote, Way
from apps.approvals.permissions import named_people, whom

RiskName = Literal["low", "normal", "high"]
RISKS: dict[RiskName, Risk] = {"low": Risk.LOW, "normal": Risk.NORMAL, "high": Risk.HIGH}
NAMES = {risk: name for name, risk in RISKS.items()}


class Asking(Schema):
    """Which assistant asks."""

    id: UUID
    graph: str
    name: str


class Row(Schema):
    """A request in a list. Without the arguments and their digest: to decide is to have read the whole."""

    id: UUID
    status: RequestStatus
    question: ApprovalRequest.Question
    """permission: may it run? outcome: it was cut off while it ran, what became of it?"""
    kind: CallKind
    tool: str
    risk: RiskName
    requester: str
    assistant: Asking
    thread_id: UUID
    run_id: UUID
    quorum: int
    approvals: int
    """That count so far: of those who are asked now, for the arguments as they are."""
    created_at: datetime
    expires_at: datetime | None
    escalated_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None


class Rows(Schema):
    items: list[Row]
    next_offset: int | None
    """Null: there are no more."""


class Bound(Schema):
    operator: str
    value: str


class Policy(Schema):
    """What the rule said as it asked: a decision is bound to that."""

    rule: str
    version: int
    digest: str


class Asked(Schema):
    """Who may decide."""

    group: str | None
    people: list[str]
    in_words: str


class Standing(Schema):
    """How the caller stands to it."""

    may_decide: bool
    why_not: str
    """Empty where the caller may, or could if it still waited."""
    has_approved: bool
    """And others still have to."""


class GivenVote(Schema):
    by: str
    in_place_of: str | None
    decision: DecisionKind
    via: Way
    reason: str
    counts: bool
    at: datetime


class Remark(Schema):
    by: str
    text: str
    at: datetime


class Outcome(Schema):
    """What became of the tool call."""

    state: ToolState
    decision: str
    result: str
    error: str
    started_at: datetime | None
    finished_at: datetime | None


class Approval(Row):
    """A request in full."""

    arguments: dict[str, Any]
    """As the tool would run with them."""
    digest: str
    """Of these arguments. A decision brings it, and one on other arguments is refused."""
    proposed_arguments: dict[str, Any]
    """As the model wrote them, before any person's edit."""
    arguments_schema: dict[str, Any] | None
    """JSON schema an edit has to keep to; null of a question."""
    answer_schema: dict[str, Any] | None
    """JSON schema of the answer to a question, empty where any text will do; null of a call."""
    editable: dict[str, list[Bound]] | None
    """Arguments an edit may change, and within what. Null: any of them, as the schema says."""
    allowed_decisions: list[DecisionKind]
    needs_reason: bool
    """Approving does. Rejecting always does."""
    effect: Effect
    """What running it a second time would do to the world."""
    why: str
    """In the model's own words: not checked, not to be trusted."""
    preview: str
    policy: Policy | None
    """Null: no rule asks about it."""
    asked: Asked
    you: Standing
    votes: list[GivenVote]
    decided_via: Way | None
    reason: str
    comments: list[Remark] | None
    """Of approvers to one another. Null for the requester, who does not read them."""
    outcome: Outcome
    asked_anew: UUID | None
    """The request that waits in this one's place, where the policy or an edit made another."""


def row(request: ApprovalRequest) -> dict[str, Any]:
    """Reads what `api.in_lists` fetched, and nothing more."""
    call = request.tool_call
    return {
        "id": request.pk,
        "status": request.status,
        "question": request.question,
        "kind": call.kind,
        "tool": call.tool,
        "risk": NAMES[Risk(request.risk)],
        "requester": call.user.get_username(),
        "assistant": {
            "id": call.assistant_id,
            "graph": call.assistant.graph_id,
            "name": call.assistant.name,
        },
        "thread_id": call.thread_id,
        "run_id": call.run_id,
        "quorum": request.quorum,
        "approvals": sum(map(request.counts, request.votes.all())),
        "created_at": request.created_at,
        "expires_at": request.expires_at,
        "escalated_at": request.escalated_at,
        "decided_by": request.decided_by.get_username() if request.decided_by else None,
        "decided_at": request.decided_at,
    }


def whole(request: ApprovalRequest, user: User) -> dict[str, Any]:
    """For this person: not everybody reads the comments."""
    call = request.tool_call
    is_question = call.kind == CallKind.QUESTION
    say = page.say_of(user, request)
    return {
        **row(request),
        "arguments": call.args,
        "digest": call.args_digest,
        "proposed_arguments": call.proposed_args,
        "arguments_schema": None if is_question else call.args_schema,
        "answer_schema": call.args_schema if is_question else None,
        "editable": _editable(request),
        "allowed_decisions": outcomes.allowed(request),
        "needs_reason": outcomes.needs_reason(request),
        "effect": call.effect,
        "why": call.why,
        "preview": call.preview,
        "policy": _policy(request),
        "asked": _asked(request),
        "you": {
            "may_decide": say.may_decide,
            "why_not": say.objection,
            "has_approved": say.has_approved,
        },
        "votes": [_vote(request, vote) for vote in request.votes.select_related("voter", "principal")],
        "decided_via": request.via if request.decided_by else None,
        "reason": request.reason,
        "comments": _comments(request, user),
        "outcome": {
            "state": call.state,
            "decision": call.decision,
            "result": call.result,
            "error": call.error,
            "started_at": call.started_at,
            "finished_at": call.finished_at,
        },
        "asked_anew": _asked_anew(request),
    }


def remark(comment: Comment) -> dict[str, Any]:
    return {"by": comment.author.get_username(), "text": comment.text, "at": comment.created_at}


def _editable(request: ApprovalRequest) -> dict[str, list[dict[str, str]]] | None:
    if "edit" not in outcomes.allowed(request):
        return {}
    bounds = request.version.bounds if request.version else []
    found: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for argument, operator, value in bounds:
        found[argument].append({"operator": operator, "value": value})
    return dict(found) or None


def _policy(request: ApprovalRequest) -> dict[str, Any] | None:
    version = request.version
    return {"rule": version.name, "version": version.number, "digest": version.digest} if version else None


def _asked(request: ApprovalRequest) -> dict[str, Any]:
    return {
        "group": request.approvers.name if request.approvers else None,
        "people": [person.get_username() for person in named_people(request)],
        "in_words": whom(request),
    }


def _vote(request: ApprovalRequest, vote: Vote) -> dict[str, Any]:
    return {
        "by": vote.voter.get_username(),
        "in_place_of": vote.principal.get_username() if vote.principal_id != vote.voter_id else None,
        "decision": vote.verdict,
        "via": vote.via,
        "reason": vote.reason,
        "counts": request.counts(vote),
        "at": vote.created_at,
    }


def _comments(request: ApprovalRequest, user: User) -> list[dict[str, Any]] | None:
    if not comments.may_read(user, request):
        return None
    return [remark(comment) for comment in request.comments.select_related("author")]


def _asked_anew(request: ApprovalRequest) -> UUID | None:
    if request.is_pending:
        return None
    waiting = ApprovalRequest.objects.filter(tool_call=request.tool_call_id, status=RequestStatus.PENDING)
    return waiting.values_list("pk", flat=True).first()
