"""Who may decide on what. Data checks, not only permission checks: `has_perm` is always true for superusers."""

from __future__ import annotations

from typing import cast

from accounts.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _

from apps.approvals.models import ApprovalRequest

DECIDE = "approvals.decide"
VIEW = "approvals.view_approvalrequest"


def objection_to(user: User, request: ApprovalRequest) -> str:
    """Why `user` may not decide on `request`; empty when they may. Reads the user as given: load them afresh."""
    if not user.is_active:
        return _("the account is switched off.")
    if request.tool_call.user_id == user.pk:
        return _("nobody decides on a call of their own run.")
    if not user.has_perm(DECIDE):
        return _("the permission to decide is missing.")
    if user.is_superuser:
        return ""
    if request.approvers_id is None or not user.groups.filter(pk=request.approvers_id).exists():
        return _("only members of %(group)s decide on this.") % {
            "group": request.approvers or _("a group that is gone")
        }
    return ""


def decidable(user: User) -> QuerySet[ApprovalRequest]:
    """The requests that wait for this person among others."""
    waiting = ApprovalRequest.objects.filter(status="pending").exclude(tool_call__user=user)
    if not user.is_active or not user.has_perm(DECIDE):
        return waiting.none()
    return waiting if user.is_superuser else waiting.filter(approvers__in=user.groups.all())


def person(request: HttpRequest) -> User:
    """Who is signed in, where only people who are get to."""
    return cast(User, request.user)
