"""Four eyes on the policy: a change that one person makes takes effect when another has countersigned it."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from runtime import audit
from runtime.exceptions import AlreadyDecided, DecisionRefused, InvalidDecision

from apps.approvals.meaning import sentences
from apps.approvals.models import Condition, EditBound, PolicyRule, RuleChange

OWN = ("name", "priority", "is_enabled")  # what a rule says beside what its versions hold
ROWS: dict[str, type[Condition] | type[EditBound]] = {"conditions": Condition, "bounds": EditBound}
KEYS = {"approvers": "approvers_id", "escalate_to": "escalate_to_id"}


def whole(rule: PolicyRule) -> dict[str, Any]:
    """All that the rule says, as it is stored now."""
    stored = PolicyRule.objects.get(pk=rule.pk)
    return {**{name: getattr(stored, name) for name in OWN}, **stored.content()}


def propose(user: User, rule: PolicyRule | None, after: dict[str, Any] | None) -> RuleChange:
    """A change of `rule`, a new one without it, its end without `after`.

    Raises InvalidDecision when nothing would change, AlreadyDecided when a change of the rule waits already.
    """
    before = whole(rule) if rule else None
    if before == after:
        raise InvalidDecision(_("Nothing was changed."))
    kind = RuleChange.Kind.ADD if rule is None else RuleChange.Kind.CHANGE
    made = RuleChange(
        kind=kind if after else RuleChange.Kind.DELETE,
        rule=rule,
        name=(after or before or {})["name"],
        before=before,
        after=after,
        proposed_by=user,
    )
    try:
        with transaction.atomic():
            made.save()
            _audit("rule.proposed", made, user)
    except IntegrityError as error:
        raise AlreadyDecided(
            _("Another change of this rule waits for a second person. It is countersigned or declined first.")
        ) from error
    return made


@transaction.atomic
def countersign(user: User, change_id: int, reason: str = "") -> RuleChange:
    """The change takes effect. Raises DecisionRefused for who proposed it, superusers too, and who lacks the right;
    AlreadyDecided when it is settled, or the rule says something else by now than what the proposal began with.
    """
    change = _open(change_id)
    if objection := objection_to(user, change):
        raise DecisionRefused(objection)
    rule = change.rule and PolicyRule.objects.select_for_update().get(pk=change.rule.pk)
    if (whole(rule) if rule else None) != change.before:
        raise AlreadyDecided(
            _("The rule has changed since this was proposed. Decline it, and propose it again.")
        )
    if change.after is None and rule is not None:
        change.rule = None
        rule.delete()
    elif change.after is not None:
        change.rule = _write(rule or PolicyRule(), change.after)
    return _settle(change, user, RuleChange.Status.COUNTERSIGNED, reason)


@transaction.atomic
def decline(user: User, change_id: int, reason: str = "") -> RuleChange:
    """Nothing changes. Who proposed it may take it back like this."""
    change = _open(change_id)
    if not may_settle(user, change):
        raise DecisionRefused(_("The permission to change rules is missing."))
    return _settle(change, user, RuleChange.Status.DECLINED, reason)


def objection_to(user: User, change: RuleChange) -> str:
    """Why `user` may not countersign it; empty when they may."""
    if change.proposed_by_id == user.pk:
        return _("Nobody countersigns what they proposed themselves. Ask another administrator.")
    return "" if may_settle(user, change) else _("The permission to change rules is missing.")


def may_settle(user: User, change: RuleChange) -> bool:
    return user.is_active and user.has_perm(f"approvals.{change.kind}_policyrule")


def meaning(change: RuleChange) -> str:
    """What the rule would do, in sentences; empty where it goes."""
    if change.after is None:
        return ""
    rule = _filled(PolicyRule(), change.after)
    rows = {name: [_row(model, row) for row in change.after[name]] for name, model in ROWS.items()}
    people = User.objects.filter(pk__in=change.after["people"]).order_by("username")
    return sentences(rule, conditions=rows["conditions"], bounds=rows["bounds"], people=people)


def _open(change_id: int) -> RuleChange:
    change = RuleChange.objects.select_for_update(of=("self",)).get(pk=change_id)
    if change.status != RuleChange.Status.PROPOSED:
        raise AlreadyDecided(
            _("This was settled before: %(status)s by %(who)s.")
            % {"status": change.get_status_display(), "who": change.settled_by}
        )
    return change


def _settle(change: RuleChange, user: User, status: str, reason: str) -> RuleChange:
    change.status, change.settled_by, change.reason = status, user, reason.strip()
    change.settled_at = Now()
    change.save()
    change.refresh_from_db()
    _audit(f"rule.{status}", change, user)
    return change


def _audit(action: str, change: RuleChange, user: User) -> None:
    before, after = change.before or {}, change.after or {}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    audit.append(
        action,
        subject=change,
        actor=user,
        before={name: before[name] for name in names if name in before},
        after={name: after[name] for name in names if name in after},
        reason=change.reason,
    )


def _write(rule: PolicyRule, said: dict[str, Any]) -> PolicyRule:
    """As the form would: with its checks, and one row at a time, so that each is audited."""
    _filled(rule, said)
    try:
        rule.full_clean()
    except ValidationError as error:
        raise InvalidDecision(" ".join(error.messages)) from error
    rule.save()
    rule.people.set(User.objects.filter(pk__in=said["people"]))
    for name, model in ROWS.items():
        rows: QuerySet[Any] = getattr(rule, name).all()
        if sorted(row.as_list() for row in rows) != said[name]:
            rows.delete()
            for row in said[name]:
                made = _row(model, row)
                made.rule = rule
                made.save()
    return rule


def _filled(rule: PolicyRule, said: dict[str, Any]) -> PolicyRule:
    for name, value in said.items():
        if name not in ROWS and name != "people":
            setattr(rule, KEYS.get(name, name), value)
    return rule


def _row(model: type[Condition | EditBound], row: list[str]) -> Condition | EditBound:
    argument, operator, value = row
    return model(argument=argument, operator=operator, value=value)
