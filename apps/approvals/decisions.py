"""The decision port's implementation: the only code that writes a decision, whichever door it came through."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from accounts.models import User
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.http import QueryDict
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from runtime import audit, events, ledger, masking, runs
from runtime.exceptions import AlreadyDecided, DecisionRefused, InvalidDecision, NothingAsked
from runtime.models import CallKind, ToolCall, ToolState
from runtime.schemas import Decision, DecisionType

from apps.approvals import notifications, outcomes, requests
from apps.approvals.answers import AnswerForm
from apps.approvals.asked import asked as asked  # the rest of the port
from apps.approvals.models import ApprovalRequest, RequestStatus, Vote, Way
from apps.approvals.outcomes import PolicyChanged
from apps.approvals.permissions import Right, may_override, right_to

LEAST_REASON = 20  # characters that breaking the glass has to be explained with


def decide(user: User, tool_call_id: UUID, decision: Decision) -> ToolCall:
    """Carries out one person's decision: of two at once one wins, the other gets AlreadyDecided with who and when.

    Where the policy wants several approvals, the call waits on until the last of them. Raises DecisionRefused (403),
    AlreadyDecided (409, also when the arguments are not those the person saw, or the policy has changed) and
    InvalidDecision (422: a reason is missing, arguments the tool does not take or the policy does not allow).
    """
    return _decide(user, decision, tool_call=tool_call_id)


def _decide(user: User, decision: Decision, **which: UUID) -> ToolCall:
    """The newest request of `which`, or that one."""
    try:
        with transaction.atomic():
            return _carry_out(user, _locked(**which), decision)
    except PolicyChanged as changed:  # what it says has to be true, although its transaction was rolled back
        requests.ask_anew_now(changed.request_id)
        raise


def _carry_out(user: User, request: ApprovalRequest, decision: Decision) -> ToolCall:
    right = _right(user, request, decision)
    tool_call = request.tool_call
    if not request.is_pending:
        raise AlreadyDecided(already(request))
    if decision.get("digest") not in (None, tool_call.args_digest):
        raise AlreadyDecided(
            _("The arguments have changed since you looked. Reload the page and look again.")
        )
    made = outcomes.of(request, decision, right.via)
    if "message" in decision:
        decision = {**decision, "message": masking.mask(decision["message"])}
    if decision["type"] == "respond" and tool_call.kind == CallKind.QUESTION:
        outcomes.hold_against_policy(request, None)
    digest = ledger.digest(made.args) if made.args is not None else tool_call.args_digest
    if made.is_approval:
        if made.args is not None and outcomes.needs_other_rule(request, made.args):
            return _ask_by_other_rule(user, request, decision, made)
        outcomes.hold_against_policy(request, made.args)
        _refuse_second_vote(right, user, request, digest)
    _vote(user, right, request, decision, digest)
    if made.is_approval and right.via != Way.BREAK_GLASS and _votes(request, digest) < request.quorum:
        return _wait_for_more(request, made, digest)
    return _close(user, right, request, decision, made)


def _right(user: User, request: ApprovalRequest, decision: Decision) -> Right:
    if decision.get("override") and may_override(User.objects.get(pk=user.pk), request):
        if decision.get("type") == "edit":
            raise InvalidDecision(_("An override decides on the call as it is. Nothing was changed."))
        if len(decision.get("message", "").strip()) < LEAST_REASON:
            raise InvalidDecision(
                _("Say why you override who decides, in at least %(count)s characters.")
                % {"count": LEAST_REASON}
            )
        return Right(user, Way.BREAK_GLASS)
    right = right_to(user, request)
    if isinstance(right, Right):
        return right
    raise DecisionRefused(_("You may not decide on this: %(why)s") % {"why": right})


def _refuse_second_vote(right: Right, user: User, request: ApprovalRequest, digest: str) -> None:
    if request.quorum == 1:
        return
    same = request.votes.filter(verdict__in=("approve", "edit"), args_digest=digest)
    earlier = same.filter(Q(voter=user) | Q(principal=right.principal)).first()
    if earlier is not None:
        raise AlreadyDecided(_("%(person)s has approved this already.") % {"person": earlier.voter})


def _vote(user: User, right: Right, request: ApprovalRequest, decision: Decision, digest: str) -> None:
    Vote.objects.create(
        request=request,
        voter=user,
        principal=right.principal,
        verdict=decision["type"],
        via=right.via,
        args_digest=digest,
        reason=decision.get("message", "").strip(),
    )


def _votes(request: ApprovalRequest, digest: str) -> int:
    request.tool_call.args_digest = digest
    return request.approvals.count() if request.quorum > 1 else 1


def _wait_for_more(request: ApprovalRequest, made: outcomes.Outcome, digest: str) -> ToolCall:
    """One more approval, and others are still needed. An edit is what they are asked about from now on."""
    tool_call = request.tool_call
    if request.is_overdue():
        raise AlreadyDecided(already(request))
    if made.args is not None:
        _rewrite(tool_call, made)
    transaction.on_commit(lambda: events.notify("approvals"))
    return tool_call


def _rewrite(tool_call: ToolCall, made: outcomes.Outcome) -> None:
    """Other arguments for a call that waits on: who approved the former ones has not approved these."""
    before, after = tool_call.args_digest, made.fields["args_digest"]
    waiting = ToolCall.objects.filter(pk=tool_call.pk, state=ToolState.WAITING)
    if not waiting.update(**made.fields):
        raise AlreadyDecided(_("The tool call no longer waits. Reload the page."))
    audit.append("tool_call.edited", subject=tool_call, before={"args": before}, after={"args": after})
    tool_call.refresh_from_db()


def _ask_by_other_rule(
    user: User, request: ApprovalRequest, decision: Decision, made: outcomes.Outcome
) -> ToolCall:
    """The edited call is one that another rule is about: those are asked whom that rule names."""
    message = decision.get("message", "").strip()
    if not request.close(RequestStatus.SUPERSEDED, decided_by=user, reason=message):
        raise AlreadyDecided(already(request))
    _rewrite(request.tool_call, made)
    audit.append("approval_request.superseded", subject=request, actor=user, reason=message)
    anew = requests.open_request(request.tool_call, request.question)
    transaction.on_commit(lambda: events.notify("approvals"))
    if isinstance(right_to(user, anew), Right) and "approve" in outcomes.allowed(anew):
        return _carry_out(user, anew, {"type": "approve", "message": message})
    return request.tool_call


def _close(
    user: User, right: Right, request: ApprovalRequest, decision: Decision, made: outcomes.Outcome
) -> ToolCall:
    tool_call, note = request.tool_call, decision.get("message", "").strip()
    if not request.close(made.status, decided_by=user, reason=note, via=right.via):
        request.refresh_from_db()
        raise AlreadyDecided(already(request))
    if right.via == Way.BREAK_GLASS:
        audit.append("approval_request.overridden", subject=request, actor=user, reason=note)
        notifications.announce(request, "break_glass")
    runs.resume(tool_call)  # first, so that the worker is woken before anything is announced
    decided = tool_call.advance(
        made.state, decision=decision["type"], decided_by=user, decided_at=Now(), reason=note, **made.fields
    )
    if not decided:
        raise AlreadyDecided(
            _("The tool call no longer waits: it is %(state)s.") % {"state": tool_call.get_state_display()}
        )
    return tool_call


def decide_request(user: User, request_id: UUID, decision: Decision) -> ToolCall:
    """As the decision service, but on this very request: for pages, which show one.

    A call can be asked about again, "may it run?" and later "what became of it?", with the same arguments. A page
    that shows the first question must not answer the second.
    """
    return _decide(user, decision, pk=request_id)


@transaction.atomic
def withdraw(user: User, tool_call_id: UUID) -> ToolCall:
    """The requester takes back a call that waits. It counts as cancelled and the turn goes on without it."""
    request = _locked(tool_call=tool_call_id)
    if request.tool_call.user_id != user.pk:
        raise DecisionRefused(_("Only the person who asked can withdraw a call."))
    if request.question != ApprovalRequest.Question.PERMISSION or not request.close(
        RequestStatus.CANCELLED, decided_by=user
    ):
        raise AlreadyDecided(already(request))
    request.tool_call.advance(ToolState.CANCELLED, decision="withdraw", decided_by=user, decided_at=Now())
    runs.resume(request.tool_call)
    return request.tool_call


def may_answer(user: User, tool_call: ToolCall) -> list[DecisionType]:
    """The kinds of decision that the requester may take on their own call, in the chat."""
    request = ApprovalRequest.objects.filter(tool_call=tool_call, status=RequestStatus.PENDING)
    asked = request.select_related("tool_call", "version").first()
    if asked is None or tool_call.user_id != user.pk or not isinstance(right_to(user, asked), Right):
        return []
    return cast("list[DecisionType]", outcomes.allowed(asked))


def takes(tool_call: ToolCall) -> list[DecisionType]:
    """What may be said to the question that is open on the call."""
    request = ApprovalRequest.objects.filter(tool_call=tool_call, status=RequestStatus.PENDING)
    asked = request.select_related("tool_call", "version").first()
    return cast("list[DecisionType]", outcomes.allowed(asked)) if asked else []


def answer_form(tool_call: ToolCall, data: QueryDict | None = None) -> AnswerForm:
    """The form for the answer to a question of a graph."""
    form = AnswerForm(tool_call.args_schema, data)
    form.auto_id = f"{tool_call.pk}-%s"  # a page may hold several
    return form


def _locked(**which: UUID) -> ApprovalRequest:
    """With what a decision reads, one decision at a time: the last of several votes has to see the others.

    PostgreSQL locks in the order named: as `turns.lock`, in one round trip.
    """
    # Each further join costs PostgreSQL more to plan than a row to fetch.
    requests = ApprovalRequest.objects.select_related("tool_call__thread")
    requests = requests.select_for_update(of=("tool_call__thread", "tool_call", "self"), no_key=True)
    request = requests.filter(**which).order_by("-created_at").first()
    if request is None:
        raise NothingAsked
    return request


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
