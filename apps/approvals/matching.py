"""Which rule a call meets, and why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.db.models import prefetch_related_objects
from django.utils.translation import gettext as _
from runtime.models import ToolCall

from apps.approvals.conditions import Finding, Unreadable, evaluate
from apps.approvals.facts import Facts
from apps.approvals.models import Condition, PolicyRule

logger = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """A rule with its conditions, saved or not."""

    rule: PolicyRule
    conditions: Sequence[Condition]

    @property
    def is_allowing(self) -> bool:
        return self.rule.verdict == PolicyRule.Verdict.ALLOW


class Checked(NamedTuple):
    condition: Condition
    finding: Finding
    is_met: bool
    """With what can't be told counted as the riskier answer."""


@dataclass(frozen=True)
class Match:
    """How one rule stands to one call."""

    rule: PolicyRule
    is_about: bool
    """Tool and assistant are the rule's."""
    checked: list[Checked] = field(default_factory=list)
    unreadable: str = ""
    """What can't be read of its conditions. Such a rule holds, unless it allows."""
    matches: bool = False


def enabled() -> list[PolicyRule]:
    return in_order(PolicyRule.objects.filter(is_enabled=True).select_related("approvers"))


def in_order(rules: Iterable[PolicyRule]) -> list[PolicyRule]:
    return sorted(rules, key=lambda rule: (rule.priority, rule.name))


def matching_rule(tool_call: ToolCall) -> PolicyRule | None:
    """Any matching deny, else the first match by priority. As many queries with a thousand rules as with one."""
    rules = [rule for rule in enabled() if is_about(rule, tool_call)]
    facts = Facts(tool_call)
    return met(examine(each, facts) for each in candidates(rules))


def candidates(rules: Sequence[PolicyRule]) -> list[Candidate]:
    prefetch_related_objects(rules, "conditions")
    return [Candidate(rule, list(rule.conditions.all())) for rule in rules]


def met(matches: Iterable[Match]) -> PolicyRule | None:
    """Of rules in order, the one that counts."""
    rules = [match.rule for match in matches if match.matches]
    denying = [rule for rule in rules if rule.verdict == PolicyRule.Verdict.DENY]
    return next(iter(denying or rules), None)


def is_about(rule: PolicyRule, call: ToolCall) -> bool:
    return fnmatchcase(call.tool, rule.tool) and fnmatchcase(call.assistant.graph_id, rule.assistant)


def examine(candidate: Candidate, facts: Facts) -> Match:
    """Looks at every condition, so that the answer can be explained."""
    rule = candidate.rule
    if not is_about(rule, facts.call):
        return Match(rule, is_about=False)
    try:
        checked = [_check(condition, facts, candidate) for condition in candidate.conditions]
    except DatabaseError:
        raise  # the transaction is broken: whoever asked refuses the call
    except Exception as error:
        _log(rule, facts.call)
        why = str(error) if isinstance(error, Unreadable) else _("Its conditions can't be read.")
        return Match(rule, is_about=True, unreadable=why, matches=not candidate.is_allowing)
    return Match(rule, is_about=True, checked=checked, matches=all(each.is_met for each in checked))


def _check(condition: Condition, facts: Facts, candidate: Candidate) -> Checked:
    finding = evaluate(condition, facts, every=candidate.is_allowing)
    is_met = not candidate.is_allowing if finding.holds is None else finding.holds
    return Checked(condition, finding, is_met)


def _log(rule: PolicyRule, call: ToolCall) -> None:
    logger.exception(
        "a rule's conditions can't be read",
        extra={"action": "rule_unreadable", "rule": rule.name, "tool_call_id": str(call.pk)},
    )
