"""Conditions of a rule and bounds of an edit, held against a call.

No language of its own and no patterns: an argument, an operator, a value. What can't be told counts as the riskier
answer: a rule that denies or asks takes it as met, a rule that allows does not, and an edit is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from apps.approvals import facts as known
from apps.approvals.comparison import (
    ABSENT,
    LISTED,
    NEGATED,
    ORDERED,
    PRESENCE,
    UNREADABLE,
    Answer,
    all_of,
    any_of,
    compare,
    items,
    negated,
    number,
    spread,
)
from apps.approvals.facts import Facts
from apps.approvals.models.rules import Comparison, Operator

SHOWN = 200  # characters of what was found
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMERIC = (*ORDERED, Operator.LONGER)
_OPERATORS = frozenset(Operator.values)
_CHOSEN = (Operator.EQUALS, Operator.DIFFERS, *LISTED)


class Unreadable(ValueError):
    """A condition that says nothing that could be compared. It came by another door than the form."""


class Finding(NamedTuple):
    holds: Answer
    values: Sequence[Any]

    @property
    def found(self) -> str:
        """What the call says, as JSON."""
        return _shown(self.values)


def check(condition: Comparison) -> None:
    """Raises Unreadable."""
    problems = objections(condition.argument, condition.operator, condition.value)
    if problems:
        raise Unreadable(" ".join(problems.values()))


def evaluate(condition: Comparison, facts: Facts, *, every: bool) -> Finding:
    """For a row that `check` lets pass. Of several values one is enough; all must do with `every`, for a rule that
    allows.
    """
    name, operator, value = condition.argument, condition.operator, condition.value
    values = facts.values(name)
    return Finding(_holds(name, operator, value, values, every=every), values)


def _holds(name: str, operator: str, value: str, values: Sequence[Any], *, every: bool) -> Answer:
    if name == known.REQUESTER_GROUP:
        return _is_member(operator, value, values)
    if name == known.WEEKDAY:
        value = ",".join(str(weekday(item) or item) for item in items(value))
    if operator in PRESENCE:
        is_given = any_of(compare(Operator.GIVEN, each, "") for each in values)
        return is_given if operator == Operator.GIVEN else negated(is_given)
    answers = [compare(operator, each, value) for each in spread(values, operator, value)]
    return all_of(answers) if every else any_of(answers)


def _is_member(operator: str, value: str, groups: Sequence[str]) -> Answer:
    """People are in several groups: "is not Finance" means none of theirs is."""
    positive = NEGATED.get(Operator(operator), operator)
    answer = any_of(compare(positive, group, value) for group in groups)
    return answer if positive == operator else negated(answer)


def weekday(text: str) -> int | None:
    """1 for Monday to 7, from the number, the English name or its first three letters."""
    day = text.strip().lower()
    if day in [str(each) for each in range(1, 8)]:
        return int(day)
    return next((at for at, name in enumerate(DAYS, 1) if day in (name, name[:3])), None)


def _shown(values: Sequence[Any]) -> str:
    if not values or all(value is ABSENT for value in values):
        return _("nothing")
    text = ", ".join(_as_json(value) for value in values)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _as_json(value: Any) -> str:
    if value is ABSENT:
        return _("nothing")
    if value is UNREADABLE:
        return _("something that can't be read")
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


# --- when it is saved --------------------------------------------------------------------------------------


def objections(argument: str, operator: str, value: str, *, is_bound: bool = False) -> dict[str, str]:
    """What is wrong with a row, by field, as a sentence for who wrote it."""
    problem = _of_argument(argument, is_bound=is_bound)
    if problem:
        return {"argument": problem}
    if operator not in _OPERATORS:
        return {"operator": _("This is no operator.")}
    if argument == known.REQUESTER_GROUP and operator not in _CHOSEN:
        return {"operator": _("A group is compared by “is”, “is not”, “is one of” or “is none of”.")}
    problem = _of_value(argument, operator, value)
    return {"value": problem} if problem else {}


def _of_argument(argument: str, *, is_bound: bool) -> str:
    if any(not part.removesuffix("[]") or "[" in part.removesuffix("[]") for part in argument.split(".")):
        return _("Write it like amount, order.total or items[].price.")
    if not known.is_reserved(argument):
        return ""
    if is_bound:
        return _("Only arguments of the tool can be edited.")
    if argument in known.NAMED:
        return ""
    inner = known.summed(argument)
    if inner and not known.is_reserved(inner):
        return ""
    return _("There is no %(name)s. Known are %(known)s and sum.amount.today for any argument.") % {
        "name": argument,
        "known": ", ".join(known.NAMED),
    }


def _of_value(argument: str, operator: str, value: str) -> str:
    if operator in PRESENCE:
        return _("This operator takes no value: leave it empty.") if value else ""
    if not value.strip() or (operator in LISTED and not items(value)):
        return _("Say what it is compared with.")
    entries = items(value) if operator in LISTED else [value]
    if argument == known.WEEKDAY:
        if any(weekday(entry) is None for entry in entries):
            return _("Write weekdays as monday to sunday, or 1 (Monday) to 7.")
        return ""
    is_number = argument in (known.HOUR, known.CALLS_TODAY) or known.summed(argument)
    if (operator in _NUMERIC or is_number) and any(number(entry) is None for entry in entries):
        return _("This needs a number, such as 100 or 59.90.")
    if argument == known.HOUR and any(number(entry) not in range(24) for entry in entries):
        return _("Hours are whole numbers from 0 to 23.")
    return ""


# --- edits -------------------------------------------------------------------------------------------------


def within(
    bounds: Iterable[tuple[str, str, str]], before: dict[str, Any], after: dict[str, Any]
) -> list[tuple[str, str]]:
    """(argument, what is wrong with its edit) for each change the bounds don't allow. Without bounds: none.

    With any, only the arguments they name may differ from `before`, and each that does must keep to all its rows.
    """
    rows = list(bounds)
    if not rows:
        return []
    problems: list[tuple[str, str]] = []
    for argument in dict.fromkeys(_changes(before, after)):
        about = [row for row in rows if _covers(row[0], argument)]
        if not about:
            problems.append((argument, _("This argument may not be changed.")))
        problems += [(argument, problem) for row in about if (problem := _breach(row, after))]
    return list(dict.fromkeys(problems))


def _covers(bound: str, changed: str) -> bool:
    """A bound on `order` is about all that is in it."""
    wanted, path = _parts(bound), _parts(changed)
    return path[: len(wanted)] == wanted


def _parts(path: str) -> list[str]:
    return path.replace("[]", "").split(".")


def _changes(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Where the two differ, as an author of bounds would name it. As texts: 1 == True == 1.0 in Python."""
    if json.dumps(before, sort_keys=True, default=repr) == json.dumps(after, sort_keys=True, default=repr):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            shown = json.dumps(name) if "." in name or "[]" in name else name
            inner = f"{path}.{shown}" if path else shown
            yield from _changes(before.get(name, ABSENT), after.get(name, ABSENT), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for old, new in zip(before, after, strict=True):
            yield from _changes(old, new, f"{path}[]")
    else:
        yield path


def _breach(row: tuple[str, str, str], after: dict[str, Any]) -> str:
    argument, operator, value = row
    if objections(argument, operator, value, is_bound=True):
        return _("The rule's bound on this can't be read, so it may not be changed.")
    if _holds(argument, operator, value, known.at(after, argument), every=True):
        return ""
    words = {"argument": argument, "operator": Operator(operator).label, "value": value}
    return (_("The rule allows only: %(argument)s %(operator)s %(value)s") % words).rstrip()
