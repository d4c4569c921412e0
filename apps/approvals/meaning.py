"""A policy rule in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from apps.approvals.models.rules import PolicyRule


def sentences(
    rule: PolicyRule, *, conditions: Iterable[Any], bounds: Iterable[Any], people: Iterable[Any]
) -> str:
    """What the rule does, when, and what those who decide may do. The rows are given: they need not be saved."""
    if not rule.is_enabled:
        return _("switched off; it changes nothing.")
    rows = "; ".join(str(row) for row in conditions)
    told = [_frame(rule, is_bare=not rows) % _words(rule, [str(each) for each in people])]
    if rows:
        told.append(_("Only if: %(conditions)s.") % {"conditions": rows})
    if rule.verdict == rule.Verdict.ASK:
        told += _asked(rule, "; ".join(str(row) for row in bounds))
    return " ".join(told)


def _words(rule: PolicyRule, people: list[str]) -> dict[str, object]:
    return {
        "tool": _("any tool") if rule.tool == "*" else rule.tool,
        "assistant": _("any assistant") if rule.assistant == "*" else rule.assistant,
        "group": _who(rule, people),
        "count": rule.quorum,
        "minutes": rule.expires_after,
    }


def _who(rule: PolicyRule, people: list[str]) -> str:
    named = [*([str(rule.approvers)] if rule.approvers else []), *people]
    return ", ".join(named) or _("the people it names")


def _frame(rule: PolicyRule, *, is_bare: bool) -> str:
    match rule.verdict:
        case rule.Verdict.ALLOW:
            return _("%(tool)s of %(assistant)s runs without asking anybody.")
        case rule.Verdict.DENY if not is_bare:
            return _("%(tool)s of %(assistant)s is refused.")
        case rule.Verdict.DENY:
            return _("%(tool)s of %(assistant)s is always refused.")
        case _ if rule.requester_confirms:
            return _("%(tool)s of %(assistant)s waits until the person who asked confirms it.")
        case _ if rule.quorum > 1 and rule.expires_after:
            return _(
                "%(tool)s of %(assistant)s waits until %(count)s of %(group)s approve, at most %(minutes)s minutes."
            )
        case _ if rule.quorum > 1:
            return _("%(tool)s of %(assistant)s waits until %(count)s of %(group)s approve.")
        case _ if rule.expires_after:
            return _("%(tool)s of %(assistant)s waits until %(group)s decide, at most %(minutes)s minutes.")
        case _:
            return _("%(tool)s of %(assistant)s waits until %(group)s decide.")


def _asked(rule: PolicyRule, bounds: str) -> list[str]:
    """What an asking rule says beyond who decides; nothing where it leaves everything as usual."""
    told = []
    if rule.on_expiry == rule.OnExpiry.ESCALATE:
        told.append(_("Then %(group)s are asked.") % {"group": rule.escalate_to})
    if rule.remind_after:
        told.append(_("They are reminded after %(minutes)s minutes.") % {"minutes": rule.remind_after})
    kinds = dict(rule.decision_choices())
    if set(rule.decisions) != set(kinds):
        names = ", ".join(str(name) for kind, name in kinds.items() if kind in rule.decisions)
        told.append(_("They may only: %(decisions)s.") % {"decisions": names})
    if bounds and "edit" in rule.decisions:
        told.append(_("They may change only: %(bounds)s.") % {"bounds": bounds})
    if rule.needs_reason:
        told.append(_("Approving needs a reason."))
    return told
