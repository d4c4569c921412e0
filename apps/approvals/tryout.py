"""The policy asked without consequences: of a call somebody makes up, and of last week's calls. Writes nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.utils import timezone
from runtime.models import ToolCall

from apps.approvals.facts import DAY, Args, Facts
from apps.approvals.matching import Candidate, Match, candidates, enabled, examine, in_turn, winner
from apps.approvals.models import PolicyRule

LOOKED_BACK = timedelta(days=7)
NEWEST = 2000  # calls that are looked at
LISTED = 100  # of those that would have met another verdict
HISTORY = 20_000  # calls that sums and counts of the past are made of


class Explained(NamedTuple):
    verdict: str
    rule: PolicyRule | None
    """None: no rule is about it."""
    matches: list[Match]
    """Every rule in order."""


def explained(call: ToolCall) -> Explained:
    facts = Facts(call)
    rules = candidates(enabled())
    found = {each.rule.pk: examine(each, facts) for each in rules}
    rule = winner(rules, lambda each: found[each.rule.pk].matches)
    return Explained(verdict(rule, call), rule, list(found.values()))


def verdict(rule: PolicyRule | None, call: ToolCall) -> str:
    if rule is not None:
        return rule.verdict
    return PolicyRule.Verdict.DENY if call.sensitive else PolicyRule.Verdict.ALLOW


class Changed(NamedTuple):
    call: ToolCall
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """What a rule as it is being edited would have changed."""

    looked_at: int
    is_cut: bool
    """There were more calls than are looked at."""
    changed: list[Changed]

    @property
    def listed(self) -> list[Changed]:
        return self.changed[:LISTED]

    @property
    def counts(self) -> list[tuple[str, str, int]]:
        counted = Counter((each.before, each.after) for each in self.changed)
        return [(before, after, count) for (before, after), count in counted.most_common()]


def compared(old: PolicyRule | None, new: Candidate) -> Comparison:
    """The calls of the last week, judged by the rules as they are and with `new` in the place of `old`.

    Each as it was proposed and at its own time; people's groups are those of today.
    """
    calls = _recent()
    rules = candidates(enabled())
    others = [each for each in rules if old is None or each.rule.pk != old.pk]
    changed_rules = sorted(
        [*others, new] if new.rule.is_enabled else others, key=lambda each: in_turn(each.rule)
    )
    history = History()
    changed = []
    for call in calls[:NEWEST]:
        call.args = call.proposed_args
        matches = _matcher(call, history)
        was, would_be = (verdict(winner(each, matches), call) for each in (rules, changed_rules))
        if was != would_be:
            changed.append(Changed(call, was, would_be))
    return Comparison(min(len(calls), NEWEST), len(calls) > NEWEST, changed)


def _recent() -> list[ToolCall]:
    week = ToolCall.objects.filter(created_at__gt=timezone.now() - LOOKED_BACK)
    wanted = week.select_related("assistant", "user").prefetch_related("user__groups", "approval_requests")
    return list(wanted.order_by("-created_at")[: NEWEST + 1])


def _matcher(call: ToolCall, history: History) -> Callable[[Candidate], bool]:
    """Whether a rule matches the call as it was then. Each rule is asked once."""
    facts = Facts(call, moment=call.created_at, earlier=lambda: history.before(call))
    known: dict[int, bool] = {}

    def matches(candidate: Candidate) -> bool:
        if id(candidate) not in known:
            known[id(candidate)] = examine(candidate, facts, whole=False).matches
        return known[id(candidate)]

    return matches


class History:
    """What ran in the last days, read once and only if a rule counts."""

    def before(self, call: ToolCall) -> list[Args]:
        """The arguments of what the requester's calls of this tool began in the day before this one."""
        began = self._began[call.user_id, call.tool]
        start, end = (bisect_left(began, (moment,)) for moment in (call.created_at - DAY, call.created_at))
        return [args for _, pk, args in began[start:end] if pk != call.pk]

    @cached_property
    def _began(self) -> dict[tuple[int, str], _Began]:
        since = timezone.now() - LOOKED_BACK - DAY
        newest = ToolCall.objects.filter(started_at__gt=since).order_by("-started_at")
        rows = newest.values_list("user", "tool", "started_at", "pk", "args")[:HISTORY]
        found: dict[tuple[int, str], _Began] = defaultdict(list)
        for user, tool, started, pk, args in reversed(rows):
            if started is not None:
                found[user, tool].append((started, pk, args))
        return found


_Began = list[tuple[datetime, UUID, Args]]
