"""What a version of a rule said, and what changed from one to the next, in words."""

from __future__ import annotations

from typing import Any, NamedTuple

from accounts.models import User
from django.contrib.auth.models import Group
from django.utils.translation import gettext as _

from apps.approvals.models import Operator, PolicyRule, RuleVersion

CHOICES = ("verdict", "risk", "on_expiry")
GROUPS = ("approvers", "escalate_to")
ROWS = ("conditions", "bounds")


class Change(NamedTuple):
    name: str
    before: str
    after: str


def said(version: RuleVersion) -> list[tuple[str, str]]:
    """(what, how) for everything the version says."""
    return [(_label(key), _words(key, value)) for key, value in version.content.items()]


def changes(version: RuleVersion) -> list[Change]:
    """From the version used before it; none for the first."""
    before = previous(version)
    return [] if before is None else differences(before.content, version.content)


def differences(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[Change]:
    """Between what a rule says and what it is to say; None where there is none."""
    before, after = before or {}, after or {}
    return [
        Change(_label(key), _words(key, before.get(key)), _words(key, after.get(key)))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


def previous(version: RuleVersion) -> RuleVersion | None:
    if version.rule_id is None:
        return None
    earlier = RuleVersion.objects.filter(rule=version.rule_id, number__lt=version.number)
    return earlier.order_by("-number").first()


def _label(key: str) -> str:
    if key in ROWS:
        return _("conditions") if key == "conditions" else _("bounds of editing")
    return str(getattr(PolicyRule._meta.get_field(key), "verbose_name", key))


def _words(key: str, value: Any) -> str:
    """Names for ids, labels for choices. What is gone by now is said as its number."""
    if value in (None, "", []):
        return _("none")
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if key in CHOICES:
        field: Any = PolicyRule._meta.get_field(key)
        return str(dict(field.choices).get(value, value))
    if key in GROUPS:
        return str(Group.objects.filter(pk=value).first() or _("a group that is gone"))
    if key == "people":
        return ", ".join(str(person) for person in User.objects.filter(pk__in=value).order_by("username"))
    if key in ROWS:
        return "; ".join(_row(*row) for row in value)
    if key == "decisions":
        choices = dict(PolicyRule.decision_choices())
        return ", ".join(str(choices.get(kind, kind)) for kind in value)
    return str(value)


def _row(argument: str, operator: str, value: str) -> str:
    label = Operator(operator).label if operator in Operator.values else operator
    return f"{argument} {label} {value}".rstrip()
