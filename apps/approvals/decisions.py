"""The decision port's implementation: the only code that writes a decision, whichever door it came through."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from runtime import ledger, runs
from runtime.exceptions import AlreadyDecided, DecisionRefused, InvalidDecision, NothingAsked
from runtime.models import ToolCall, ToolState
from runtime.schemas import Decision

from apps.approvals import arguments
from apps.approvals.asked import asked as asked  # the rest of the port
from apps.approvals.models import ApprovalRequest, RequestStatus
from apps.approvals.permissions import objection_to

# What a decision makes of the request and of the call, by the question that was asked.
_OUTCOMES: dict[tuple[str, str], tuple[str, str]] = {
    ("permission", "approve"): (RequestStatus.APPROVED, ToolState.APPROVED),
    ("permission", "edit"): (RequestStatus.APPROVED, ToolState.APPROVED),
    ("permission", "respond"): (RequestStatus.RESPONDED, ToolState.RESPONDED),
    ("permission", "reject"): (RequestStatus.REJECTED, ToolState.REJECTED),
    # Cut off in the middle: run it again, record what it did, or call it failed.
    ("outcome", "approve"): (RequestStatus.APPROVED, ToolState.APPROVED),
    ("outcome", "respond"): (RequestStatus.RESPONDED, ToolState.RESPONDED),
    ("outcome", "reject"): (RequestStatus.REJECTED, ToolState.FAILED),
}


EXPIRED_AT_ONCE = 100  # in one look; the next comes in seconds


@transaction.atomic
def decide(user: User, tool_call_id: UUID, decision: Decision) -> ToolCall:
    """Carries out one person's decision: of two at once one wins, the other gets AlreadyDecided with who and when.

    Raises DecisionRefused (403), AlreadyDecided (409, also when the arguments are not those the person saw) and
    InvalidDecision (422: no reason for a rejection, arguments the tool does not take).
    """
    return _carry_out(user, _newest_request(tool_call_id), decision)


def _carry_out(user: User, request: ApprovalRequest, decision: Decision) -> ToolCall:
    user = User.objects.get(pk=user.pk)  # as they are now, not as they were when the page was loaded
    refusal = objection_to(user, request)
    if refusal:
        raise DecisionRefused(_("You may not decide on this: %(why)s") % {"why": refusal})
    tool_call = request.tool_call
    if not request.is_pending:
        raise AlreadyDecided(already(request))
    if decision.get("digest") not in (None, tool_call.args_digest):
        raise AlreadyDecided(
            _("The arguments have changed since you looked. Reload the page and look again.")
        )
    status, state, fields = _outcome(request, decision)
    note = decision.get("message", "").strip()
    if not request.close(status, decided_by=user, reason=note):
        request.refresh_from_db()
        raise AlreadyDecided(already(request))
    runs.resume(tool_call)  # first, so that the worker is woken before anything is announced
    decided = tool_call.advance(
        state, decision=decision["type"], decided_by=user, decided_at=Now(), reason=note, **fields
    )
    if not decided:
        raise AlreadyDecided(
            _("The tool call no longer waits: it is %(state)s.") % {"state": tool_call.get_state_display()}
        )
    return tool_call


@transaction.atomic
def decide_request(user: User, request_id: UUID, decision: Decision) -> ToolCall:
    """As the decision service, but on this very request: for pages, which show one.

    A call can be asked about again, "may it run?" and later "what became of it?", with the same arguments. A page
    that shows the first question must not answer the second.
    """
    request = _requests().select_for_update(of=("self",)).get(pk=request_id)
    return _carry_out(user, request, decision)


@transaction.atomic
def withdraw(user: User, tool_call_id: UUID) -> ToolCall:
    """The requester takes back a call that waits. It counts as cancelled and the turn goes on without it."""
    request = _newest_request(tool_call_id)
    if request.tool_call.user_id != user.pk:
        raise DecisionRefused(_("Only the person who asked can withdraw a call."))
    if request.question != ApprovalRequest.Question.PERMISSION or not request.close(
        RequestStatus.CANCELLED, decided_by=user
    ):
        raise AlreadyDecided(already(request))
    request.tool_call.advance(ToolState.CANCELLED, decision="withdraw", decided_by=user, decided_at=Now())
    runs.resume(request.tool_call)
    return request.tool_call


def expire_due() -> int:
    """Calls nobody has decided on in time do not run, and their turns go on without them. How many that were.

    Safe to repeat, and from several processes at once.
    """
    due = ApprovalRequest.objects.filter(status=RequestStatus.PENDING, expires_at__lte=Now())
    return sum(_expire(pk) for pk in due.values_list("pk", flat=True)[:EXPIRED_AT_ONCE])


@transaction.atomic
def _expire(request_id: UUID) -> bool:
    due = _requests().filter(pk=request_id, status=RequestStatus.PENDING, expires_at__lte=Now())
    request = due.select_for_update(of=("self",), skip_locked=True).first()
    if request is None:
        return False
    request.close(RequestStatus.EXPIRED, in_time=False)
    reason = _("Nobody decided in time.")
    is_settled = request.tool_call.advance(ToolState.EXPIRED, reason=reason, finished_at=Now())
    if is_settled:
        runs.resume(request.tool_call)
    return is_settled


def _newest_request(tool_call_id: UUID) -> ApprovalRequest:
    request = _requests().filter(tool_call=tool_call_id).order_by("-created_at").first()
    if request is None:
        raise NothingAsked
    return request


def _requests() -> QuerySet[ApprovalRequest]:
    """With what a decision reads; each further join costs PostgreSQL more to plan than a row to fetch."""
    return ApprovalRequest.objects.select_related("tool_call__thread", "approvers")


def _outcome(request: ApprovalRequest, decision: Decision) -> tuple[str, str, dict[str, Any]]:
    """(status of the request, state of the call, further fields of the call)."""
    kind = decision.get("type", "")
    if (request.question, kind) not in _OUTCOMES:
        raise InvalidDecision(_("%(kind)r is not a decision this request can take.") % {"kind": kind})
    note = decision.get("message", "").strip()
    if kind == "reject" and not note:
        raise InvalidDecision(_("Give a reason: the assistant and the requester are told."))
    if kind == "respond" and not note:
        raise InvalidDecision(_("Write the answer the assistant is to get in place of the tool's."))
    fields: dict[str, Any] = {}
    if kind == "respond":
        fields = {"result": note, "finished_at": Now()}
    if kind == "edit":
        args = arguments.checked(decision.get("args", {}), request.tool_call.args_schema)
        fields = {"args": args, "args_digest": ledger.digest(args)}
    if request.question == ApprovalRequest.Question.OUTCOME and kind == "reject":
        fields = {"error": note, "finished_at": Now()}
    status, state = _OUTCOMES[request.question, kind]
    return status, state, fields


def already(request: ApprovalRequest) -> str:
    """Who was faster, and when; or that it has expired."""
    if request.is_pending and request.expires_at:
        when = date_format(localtime(request.expires_at), "DATETIME_FORMAT")
        return _("This expired at %(when)s: it will not run. Reload the queue.") % {"when": when}
    when = date_format(localtime(request.decided_at), "DATETIME_FORMAT") if request.decided_at else ""
    return _("This was already decided: %(status)s by %(who)s, %(when)s. Reload the queue.") % {
        "status": request.get_status_display(),
        "who": request.decided_by or _("nobody"),
        "when": when,
    }
