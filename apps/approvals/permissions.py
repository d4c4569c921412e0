"""Who may decide on what. Data checks, not only permission checks: `has_perm` is always true for superusers."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, cast

from accounts.models import User
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from runtime.models import CallKind, ToolCall

from apps.approvals.models import ApprovalRequest, Delegation, PolicyRule, Vote, Way

DECIDE = "approvals.decide"
BREAK_GLASS = "approvals.break_glass"
VIEW = "approvals.view_approvalrequest"


class Right(NamedTuple):
    """By what right somebody decides: in whose place, and why that person may."""

    principal: User
    via: Way


class Standing(NamedTuple):
    """How somebody stands to a request, as the database has it now: not as they were when a page was loaded."""

    is_active: bool
    may_decide: bool
    is_asked: bool


# As text: Django takes longer to put it together than PostgreSQL to answer it, three times a turn.
STANDING = """
SELECT person.is_active,
    person.is_superuser
    OR EXISTS (SELECT FROM accounts_user_user_permissions own
        WHERE own.user_id = person.id AND own.permission_id = decide.id)
    OR EXISTS (SELECT FROM accounts_user_groups member JOIN auth_group_permissions shared USING (group_id)
        WHERE member.user_id = person.id AND shared.permission_id = decide.id),
    EXISTS (SELECT FROM accounts_user_groups asked WHERE asked.user_id = person.id AND asked.group_id = %s)
FROM accounts_user person LEFT JOIN (
    SELECT permission.id FROM auth_permission permission JOIN django_content_type type ON type.id = content_type_id
    WHERE type.app_label = 'approvals' AND codename = 'decide'
) decide ON true
WHERE person.id = %s
"""


def standing(person_id: int, request: ApprovalRequest) -> Standing:
    """In one round trip: a decision waits for this, and so does each tool that runs."""
    with connection.cursor() as cursor:
        cursor.execute(STANDING, [request.approvers_id, person_id])
        found = cursor.fetchone()
    is_active, may_decide, is_member = found or (False, False, False)
    return Standing(is_active, is_active and may_decide, is_member or str(person_id) in _named(request))


def right_to(user: User, request: ApprovalRequest) -> Right | str:
    """The right, or why there is none."""
    is_active, may_decide, is_asked = standing(user.pk, request)
    if not is_active:
        return _("the account is switched off.")
    if request.tool_call.user_id == user.pk:
        if confirms_alone(request):
            return Right(user, Way.CONFIRM)
        return _("nobody decides on a call of their own run.")
    if not may_decide:
        return _("the permission to decide is missing.")
    if is_asked:
        return Right(user, Way.RULE)
    spent = set(request.approvals.values_list("principal", flat=True)) if request.quorum > 1 else set()
    for delegation in Delegation.objects.now().filter(delegate=user).select_related("delegator"):
        principal = delegation.delegator
        if (
            all(standing(principal.pk, request))
            and principal.pk not in spent
            and principal.pk != request.tool_call.user_id
        ):
            return Right(principal, Way.DELEGATE)
    return _("only %(whom)s decide on this.") % {"whom": whom(request)}


def may_view(user: User) -> bool:
    """Whether the queue is open to them, as the admin says: staff with the permission, and nobody else."""
    return user.is_active and user.is_staff and user.has_perm(VIEW)


def objection_to(user: User, request: ApprovalRequest) -> str:
    """Why `user` may not decide on `request`; empty when they may."""
    right = right_to(user, request)
    return right if isinstance(right, str) else ""


def may_override(user: User, request: ApprovalRequest) -> bool:
    """Whether they may break the glass: never for a call of their own run."""
    return user.is_active and request.tool_call.user_id != user.pk and user.has_perm(BREAK_GLASS)


def confirms_alone(request: ApprovalRequest) -> bool:
    """The policy lets the person who asked confirm the call. Never what became of one that was cut off.

    A question of a graph that no rule is about is theirs too.
    """
    if request.question != ApprovalRequest.Question.PERMISSION:
        return False
    if request.version is None:
        return request.tool_call.kind == CallKind.QUESTION
    return bool(request.version.content["requester_confirms"])


def _named(request: ApprovalRequest) -> list[str]:
    """Keys of those whom the rule names, until it is escalated away from them."""
    return request.version.content["people"] if request.version and request.escalated_at is None else []


def named_people(request: ApprovalRequest) -> QuerySet[User]:
    """Those whom the rule names one by one, until it is escalated away from them."""
    return User.objects.filter(pk__in=_named(request)).order_by("username")


def whom(request: ApprovalRequest) -> str:
    """Those who are asked, in words: the members of a group, people named one by one."""
    if confirms_alone(request):
        return _("the person who talks to the assistant")
    if request.approvers is not None:
        return _("members of %(group)s") % {"group": request.approvers}
    if request.version is not None and request.version.content["people"]:
        return _("the people the rule names")
    return _("members of a group that is gone")


def decidable(user: User) -> QuerySet[ApprovalRequest]:
    """The requests that wait for this person among others: their own right, and that of whoever they stand in for.

    Without a join to the tool calls, which PostgreSQL would read in full for each page's badge.
    """
    own = ToolCall.objects.filter(pk=OuterRef("tool_call"), user=user)
    waiting = ApprovalRequest.objects.filter(~Exists(own), status="pending")
    if not user.is_active or not user.has_perm(DECIDE):
        return waiting.none()
    away = [
        each.delegator
        for each in Delegation.objects.now().filter(delegate=user).select_related("delegator")
        if each.delegator.is_active and each.delegator.has_perm(DECIDE)
    ]
    theirs = _asked_of(user)
    for principal in away:
        theirs |= _asked_of(principal) & ~Q(tool_call__user=principal)
    voted = Vote.objects.filter(
        request=OuterRef("pk"), voter=user, args_digest=F("request__tool_call__args_digest")
    )
    return waiting.filter(theirs).exclude(Exists(voted.filter(request__quorum__gt=1)))


def _asked_of(user: User) -> Q:
    groups = Group.user_set.through.objects.filter(user=user).values("group")
    named = PolicyRule.people.through.objects.filter(user=user).values("policyrule")
    return Q(approvers__in=groups) | Q(rule__in=named, escalated_at__isnull=True)


def eligible(rule: PolicyRule, requester_id: int) -> int:
    """How many people could approve under the rule."""
    asked = Q(groups=rule.approvers_id) if rule.approvers_id else Q(pk__in=[])
    asked |= Q(pk__in=rule.people.all())
    return len(with_right().filter(asked).exclude(pk=requester_id).values_list("pk").distinct())


def eligible_in(group: Group, requester_id: int) -> int:
    return with_right().filter(groups=group).exclude(pk=requester_id).values("pk").distinct().count()


def able_among(group_id: int | None, named: list[str], *, at_most: int) -> list[int]:
    """Keys of those who could decide, of a group's members and of people who are named."""
    asked = Q(pk__in=named) | (Q(groups=group_id) if group_id else Q(pk__in=[]))
    return list(with_right().filter(asked).values_list("pk", flat=True).distinct()[:at_most])


def with_right() -> QuerySet[User]:
    """The active people who may decide at all."""
    return User.objects.filter(_may_decide(), is_active=True)


@cache
def _may_decide() -> Q:
    """As `has_perm(DECIDE)` says, but as a condition: of many, or along with other questions."""
    app, codename = DECIDE.split(".")
    own = User.user_permissions.through.objects.filter(
        user=OuterRef("pk"), permission__codename=codename, permission__content_type__app_label=app
    )
    shared = User.groups.through.objects.filter(
        user=OuterRef("pk"),
        group__permissions__codename=codename,
        group__permissions__content_type__app_label=app,
    )
    return Q(is_superuser=True) | Q(Exists(own)) | Q(Exists(shared))


def person(request: HttpRequest) -> User:
    """Who is signed in, where only people who are get to."""
    return cast(User, request.user)
