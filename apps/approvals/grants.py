"""Grants: an approver's standing word for calls they would approve anyway. Counted, bounded in time, revocable."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from accounts.models import User
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from runtime import audit
from runtime.exceptions import AlreadyDecided, DecisionRefused, InvalidDecision
from runtime.ledger import canonical
from runtime.models import CallKind, ToolCall, ToolState

from apps.approvals.models import ApprovalRequest, Grant, GrantUse, PolicyRule, Way
from apps.approvals.models.standing import LONGEST
from apps.approvals.permissions import DECIDE, right_to

REVOKE = "approvals.revoke_grant"

Pattern = dict[str, dict[str, Any]]
"""By argument: {"is": value}, {"at_most": "59.90"} or {"any": true}. An argument that is not named must be absent."""


def give(
    user: User,
    request: ApprovalRequest,
    pattern: Pattern,
    *,
    limit: int,
    ends_at: datetime,
    in_thread: bool,
    reason: str = "",
) -> Grant:
    """Lets calls like the request's run without asking. Only who may decide on it by their own right may.

    Raises DecisionRefused, and InvalidDecision when the pattern does not even cover the call at hand.
    """
    call = request.tool_call
    right = right_to(user, request)
    if isinstance(right, str):
        raise DecisionRefused(_("You may not allow this: %(why)s") % {"why": right})
    version = request.version
    if right.via != Way.RULE or version is None or not may_be_granted(request):
        raise DecisionRefused(_("The policy wants each of these calls decided by itself."))
    if not covers(pattern, call.args):
        raise InvalidDecision(_("What you allow does not include this call."))
    if not timezone.now() < ends_at <= timezone.now() + LONGEST:
        raise InvalidDecision(_("Choose an end within 30 days."))
    if not 1 <= limit <= 1000:
        raise InvalidDecision(_("Allow between 1 and 1000 calls."))
    return Grant.objects.create(
        tool=call.tool,
        assistant_id=call.assistant_id,
        user_id=call.user_id,
        thread_id=call.thread_id if in_thread else None,
        pattern=pattern,
        version=version,
        limit=limit,
        ends_at=ends_at,
        reason=reason,
        created_by=user,
    )


def may_be_granted(request: ApprovalRequest) -> bool:
    is_permission = request.question == ApprovalRequest.Question.PERMISSION
    return bool(
        is_permission
        and request.tool_call.kind == CallKind.CALL
        and request.quorum == 1
        and request.version is not None
        and request.version.content["may_be_granted"]
    )


def covers(pattern: Pattern, args: dict[str, Any]) -> bool:
    """Whether a call with these arguments is one of those that were allowed."""
    if args.keys() - pattern.keys():
        return False
    return all(_fits(how, args[name]) if name in args else "any" in how for name, how in pattern.items())


def _fits(how: dict[str, Any], value: Any) -> bool:
    if "any" in how:
        return True
    if "is" in how:
        return canonical({"": value}) == canonical({"": how["is"]})
    number, most = number_of(value), number_of(how.get("at_most"))
    return number is not None and most is not None and 0 <= number <= most


def number_of(value: Any) -> Decimal | None:
    """As an exact number; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def use(tool_call: ToolCall, rule: PolicyRule) -> Grant | None:
    """Takes one use of a grant that covers the call, if there is one whose giver could still approve it."""
    used = GrantUse.objects.filter(tool_call=tool_call).select_related("grant").first()
    if used is not None:
        return used.grant if not objection_to(used.grant, rule) else None
    is_new = tool_call.state == ToolState.PROPOSED and tool_call.kind != CallKind.QUESTION
    if not is_new or not rule.may_be_granted or rule.quorum > 1:
        return None
    standing = Grant.objects.standing().filter(
        tool=tool_call.tool, user=tool_call.user_id, assistant=tool_call.assistant_id
    )
    for grant in standing.select_related("created_by").order_by("ends_at"):
        fits = grant.thread_id in (None, tool_call.thread_id) and covers(grant.pattern, tool_call.args)
        if fits and not objection_to(grant, rule) and _count(grant):
            GrantUse.objects.create(grant=grant, tool_call=tool_call)
            return grant
    return None


def _count(grant: Grant) -> bool:
    return Grant.objects.standing().filter(pk=grant.pk).update(used=F("used") + 1) == 1


def objection_to(grant: Grant, rule: PolicyRule) -> str:
    """Why the grant no longer stands under the rule; empty when it does."""
    giver = User.objects.get(pk=grant.created_by_id)
    if grant.version.digest != rule.digest():
        return _("The policy has changed since the grant was given.")
    if grant.revoked_at is not None:
        return _("The grant was revoked.")
    if grant.ends_at <= timezone.now():
        return _("The grant has ended.")
    is_asked = giver.groups.filter(pk=rule.approvers_id).exists() or rule.people.filter(pk=giver.pk).exists()
    if not giver.is_active or not giver.has_perm(DECIDE) or not is_asked:
        return _("Who gave the grant no longer decides on this.")
    return ""


@transaction.atomic
def revoke(user: User, grant: Grant) -> None:
    """From now on such calls are asked about again. Who gave it may, and those with the permission to revoke.

    Raises DecisionRefused, and AlreadyDecided when it was revoked before.
    """
    if grant.created_by_id != user.pk and not user.has_perm(REVOKE):
        raise DecisionRefused(_("You may not revoke this grant."))
    standing = Grant.objects.filter(pk=grant.pk, revoked_at__isnull=True)
    if not standing.update(revoked_at=Now(), revoked_by=user):
        raise AlreadyDecided(_("This grant was revoked before."))
    grant.refresh_from_db()
    audit.append("grant.revoked", subject=grant, actor=user)
