"""Which rule a call meets, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import NamedTuple

from django.db import Error as DatabaseError
from django.utils.translation import gettext as _
from runtime.models import ToolCall

from apps.approvals.conditions import Finding, Unreadable, check, evaluate
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
    rules = PolicyRule.objects.whole().filter(is_enabled=True).select_related("approvers")
    return sorted(rules, key=in_turn)


def digest_of_all() -> str:
    """Another one whenever a rule that is in use has changed, come or gone."""
    rules = PolicyRule.objects.whole().filter(is_enabled=True).order_by("pk")
    said = "".join(f"{rule.pk} {rule.priority} {rule.digest()}\n" for rule in rules)
    return sha256(said.encode()).hexdigest()


def in_turn(rule: PolicyRule) -> tuple[int, str]:
    return rule.priority, rule.name


def matching_rule(tool_call: ToolCall) -> PolicyRule | None:
    """Any matching deny, else the first match by priority. As many queries with a thousand rules as with one."""
    rules = [rule for rule in enabled() if is_about(rule, tool_call)]
    facts = Facts(tool_call)
    return winner(candidates(rules), lambda each: examine(each, facts, whole=False).matches)


def candidates(rules: Sequence[PolicyRule]) -> list[Candidate]:
    return [Candidate(rule, rule.all_conditions()) for rule in rules]


def winner(rules: Iterable[Candidate], matches: Callable[[Candidate], bool]) -> PolicyRule | None:
    """Of rules in order, the one that counts. Once one matches, only those that deny are looked at."""
    first = None
    for each in rules:
        is_denying = each.rule.verdict == PolicyRule.Verdict.DENY
        if (first is None or is_denying) and matches(each):
            if is_denying:
                return each.rule
            first = each.rule
    return first


def is_about(rule: PolicyRule, call: ToolCall) -> bool:
    return fnmatchcase(call.tool, rule.tool) and fnmatchcase(call.assistant.graph_id, rule.assistant)


def examine(candidate: Candidate, facts: Facts, *, whole: bool = True) -> Match:
    """Looks at every condition, so that the answer can be explained; without `whole`, until one is not met."""
    rule = candidate.rule
    if not is_about(rule, facts.call):
        return Match(rule, is_about=False)
    try:
        for condition in candidate.conditions:
            check(condition)
        checked = list(_checked(candidate, facts, whole=whole))
    except DatabaseError:
        raise  # the transaction is broken: whoever asked refuses the call
    except Exception as error:
        _log(rule, facts.call)
        why = str(error) if isinstance(error, Unreadable) else _("Its conditions can't be read.")
        return Match(rule, is_about=True, unreadable=why, matches=not candidate.is_allowing)
    return Match(rule, is_about=True, checked=checked, matches=all(each.is_met for each in checked))


def _checked(candidate: Candidate, facts: Facts, *, whole: bool) -> Iterator[Checked]:
    for condition in candidate.conditions:
        finding = evaluate(condition, facts, every=candidate.is_allowing)
        is_met = not candidate.is_allowing if finding.holds is None else finding.holds
        yield Checked(condition, finding, is_met)
        if not (is_met or whole):
            return


def _log(rule: PolicyRule, call: ToolCall) -> None:
    logger.exception(
        "a rule's conditions can't be read",
        extra={"action": "rule_unreadable", "rule": rule.name, "tool_call_id": str(call.pk)},
    )
