"""One value of a call held against the text of a condition.

The answer is True, False, or None: it can't be told. Spellings that a tool may read in one way and a person in another
(case, look-alikes, escapes) are compared in all their readings; where these disagree, it can't be told either.
"""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from apps.approvals.arguments import as_decimal
from apps.approvals.models import Operator

Answer = bool | None
Test = Callable[[str, str], bool]

NUMBER_LENGTH = 1000  # characters; what is longer is no number anybody means
ENCODED = 3  # how deep JSON may be wrapped in texts of JSON

ORDERED: dict[str, Callable[[Decimal, Decimal], bool]] = {
    Operator.MORE: lambda left, right: left > right,
    Operator.AT_MOST: lambda left, right: left <= right,
    Operator.LESS: lambda left, right: left < right,
    Operator.AT_LEAST: lambda left, right: left >= right,
}
NEGATED = {
    Operator.DIFFERS: Operator.EQUALS,
    Operator.NONE_OF: Operator.ONE_OF,
    Operator.NOT_ENDS: Operator.ENDS,
}
LISTED = (Operator.ONE_OF, Operator.NONE_OF)
PRESENCE = (Operator.GIVEN, Operator.MISSING)

# What separates one recipient from the next, or its name from its address. Quotes too: '"evil@bad"@example.com'.
_SEPARATORS = re.compile(r"""[\s\x00-\x1f\x7f<>()":;,\\]+""")
_RECIPIENTS = re.compile(r"[,;\r\n]+")
_DOMAIN = re.compile(r"\.?[\w-]+(\.[\w-]+)+")


class Unclear:
    """A value nothing can be told about: absent, or of another kind than the operator compares."""

    def __init__(self, why: str) -> None:
        self.why = why


ABSENT = Unclear("absent")
UNREADABLE = Unclear("unreadable")


def negated(answer: Answer) -> Answer:
    return None if answer is None else not answer


def any_of(answers: Iterable[Answer]) -> Answer:
    found = set(answers)
    return True if True in found else None if None in found else False


def all_of(answers: Iterable[Answer]) -> Answer:
    """None for nothing at all: what isn't there proves nothing."""
    found = set(answers)
    return False if False in found else None if None in found or not found else True


def number(value: Any) -> Decimal | None:
    """The number a value is, or a text holds: "1e3", " 100.0000001", digits of any script. True is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, float):
        return as_decimal(repr(value))
    return as_decimal(value) if isinstance(value, str) and len(value) <= NUMBER_LENGTH else None


def items(text: str) -> list[str]:
    """The entries of a list as people write it."""
    return [item.strip() for item in re.split("[,，、]", text) if item.strip()]


def decoded(text: str) -> Any:
    """What a text of JSON holds; UNREADABLE when it is none, or is ambiguous (a key twice)."""
    if not text.lstrip()[:1] or text.lstrip()[0] not in '[{"':
        return UNREADABLE
    try:
        return json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return UNREADABLE


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _no_constant(constant: str) -> Any:
    raise ValueError


def leaves(value: Any, depth: int = ENCODED) -> Iterator[Any]:
    """Each single value of a list of lists; of a text that holds JSON, the text and what is in it."""
    if isinstance(value, list):
        for item in value:
            yield from leaves(item, depth)
        return
    yield value
    inner = decoded(value) if isinstance(value, str) and depth else UNREADABLE
    if inner is not UNREADABLE:
        yield from leaves(inner, depth - 1)


def spread(values: Iterable[Any], operator: str, right: str) -> Iterator[Any]:
    """The values to compare one by one. A text of several recipients is several."""
    for value in values:
        for leaf in leaves(value):
            if isinstance(leaf, str) and _is_about_addresses(leaf, operator, right):
                yield from _recipients(leaf)
            else:
                yield leaf


def compare(operator: str, left: Any, right: str) -> Answer:
    """Does `left operator right` hold? `right` is as the rule's author wrote it."""
    if operator in PRESENCE:
        return (left is not ABSENT and left is not None) == (operator == Operator.GIVEN)
    if operator in NEGATED:
        return negated(compare(NEGATED[Operator(operator)], left, right))
    if operator == Operator.ONE_OF:
        return any_of(compare(Operator.EQUALS, left, item) for item in items(right))
    if operator in ORDERED:
        return _ordered(ORDERED[Operator(operator)], number(left), number(right))
    text = _text(left)
    if text is None:
        return None
    if operator == Operator.LONGER:
        return _ordered(ORDERED[Operator.MORE], Decimal(len(text)), number(right))
    if operator == Operator.EQUALS:
        return _equal(left, text, right)
    return _textual(operator, text, right)


def _ordered(test: Callable[[Decimal, Decimal], bool], left: Decimal | None, right: Decimal | None) -> Answer:
    return None if left is None or right is None else test(left, right)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float | Decimal) else None


def _equal(left: Any, text: str, right: str) -> Answer:
    wanted = number(right)
    if wanted is None:
        return _textual(Operator.EQUALS, text, right)
    given = number(left)
    if given is not None:
        return given == wanted
    # "100 EUR" is no number, and may be read as one by the tool.
    return None if any(char.isdigit() for char in text) else False


_TESTS: dict[str, Test] = {
    Operator.EQUALS: lambda left, right: left == right,
    Operator.BEGINS: str.startswith,
    Operator.ENDS: str.endswith,
    Operator.CONTAINS: lambda left, right: right in left,
}


def _textual(operator: str, left: str, right: str) -> Answer:
    if right.startswith("/") and operator in (Operator.EQUALS, Operator.BEGINS):
        return _path(operator, left, right)
    test = _TESTS[operator]
    if "@" in left and operator != Operator.CONTAINS and _names_addresses(right):
        return _agreed(test, left, right, (_address, _plain_address))
    return _agreed(test, left, right, (str, str.casefold, _plain))


def _agreed(test: Test, left: str, right: str, readings: Iterable[Callable[[str], str]]) -> Answer:
    answers = {test(reading(left), reading(right)) for reading in readings}
    return answers.pop() if len(answers) == 1 else None


def _plain(text: str) -> str:
    """Full-width letters and ligatures as their plain ones, without what has no shape."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if unicodedata.category(char) not in ("Cf", "Cc")).strip()


# --- recipients --------------------------------------------------------------------------------------------


def _is_about_addresses(left: str, operator: str, right: str) -> bool:
    if operator in (Operator.CONTAINS, Operator.LONGER, *PRESENCE, *ORDERED):
        return False
    return "@" in right or ("@" in unicodedata.normalize("NFKC", left) and _names_addresses(right))


def _names_addresses(right: str) -> bool:
    """An address, or what one may end with: @example.com, example.com, .example.com."""
    return any("@" in item or _DOMAIN.fullmatch(item) for item in items(right))


def _recipients(text: str) -> Iterator[Any]:
    """Whatever could be meant as an address: a mail library's reading is one, and the server's may be another."""
    for part in _RECIPIENTS.split(unicodedata.normalize("NFKC", text)):
        if not part.strip():
            continue
        found = [token for token in _SEPARATORS.split(part) if "@" in token]
        yield from (token if token.count("@") == 1 else UNREADABLE for token in found)
        if not found:
            yield UNREADABLE


def _address(text: str) -> str:
    return text.strip().casefold().rstrip(".")


def _plain_address(text: str) -> str:
    return _plain(text).rstrip(".")


# --- paths -------------------------------------------------------------------------------------------------


def _path(operator: str, left: str, right: str) -> Answer:
    """By the name alone: where a symbolic link leads is not to be seen from here."""
    if not left.startswith("/"):
        return None  # relative to a folder that only the tool knows
    readings = (_normal, lambda text: _normal(text).casefold(), _unquoted, lambda text: _normal(_plain(text)))
    if operator == Operator.EQUALS:
        return _agreed(_TESTS[Operator.EQUALS], left, right, readings)
    under = _agreed(_is_under, left, right, readings)
    if right.endswith("/"):
        return under
    # "/etc" may mean the folder or the beginning of a name.
    begins = _agreed(str.startswith, left, right, readings)
    return under if under == begins else None


def _normal(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _unquoted(path: str) -> str:
    return _normal(unquote(path))


def _is_under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
