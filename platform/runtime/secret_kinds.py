"""What is taken for a secret, wherever it stands in a text.

The forms of keys are those of gitleaks' rules (github.com/gitleaks/gitleaks, config/gitleaks.toml), for services
that people paste keys of. detect-secrets and gitleaks look through files, once; this looks at each piece of a stream,
so each pattern is tried only where one of its signs, a plain text, was found.

Anybody can have a text looked through, so no pattern may read the same characters again and again. Where the end of a
run of characters decides, a run that is no secret is passed over whole (a match without the group "secret"); what may
be looked ahead at is bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from runtime import secret_beginnings
from runtime.secret_beginnings import ALNUM, BEGINNINGS, NAMED, Beginning, beginning

LEAST_OWN = 12  # characters of a setting that is looked for by its value: shorter ones are words


class Kind(NamedTuple):
    name: str
    """Shown in its place: lower case and hyphens."""
    signs: tuple[str, ...]
    """In lower case; without one of them the pattern is not tried. None: always."""
    pattern: re.Pattern[str]
    """What is secret is its group "secret", where it has one; a match without it is passed over."""
    is_one: Callable[[str], bool] = lambda found: True


class Found(NamedTuple):
    start: int
    end: int
    kind: str


def _is_card(text: str) -> bool:
    """The sum of Luhn (ISO/IEC 7812-1), of a length that the network's numbers have."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and _CARD.fullmatch(
        "".join(map(str, digits))
    ) is not None


_DIGITS = re.compile(r"[2-6]\d{3}[ -]?\d")  # the first of a card's
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|3[47]\d{13}|6(?:011|4[4-9]\d|5\d\d)\d{12}"
    r"|35\d{14}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)
# Of keys, in lower case.
_KEYS = (
    *(
        "sk_",
        "rk_",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
        "aiza",
        "npm_",
    ),
    *("hf_", "sg.", "pypi-", "cs_", "akia", "asia", "abia", "acca"),
)

KINDS = (
    Kind(
        "private-key",
        ("private key-----",),
        re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
        ),
    ),
    Kind(
        "token",
        ("eyj",),
        re.compile(ALNUM + r"(?:(?P<secret>eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+(?:\.[\w-]*+)?)|eyJ[\w-]*+)"),
    ),
    Kind(
        "api-key",
        ("sk-",),
        re.compile(ALNUM + r"(?:(?P<secret>sk-(?=[\w-]*\d)[\w-]{16,}+)|sk-[\w-]*+)"),
    ),
    Kind(
        "api-key",
        _KEYS,
        re.compile(
            ALNUM + r"(?:[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}|gh[pousr]_[A-Za-z0-9]{36,}"
            r"|github_pat_\w{40,}|glpat-[\w-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}"
            r"|hf_[A-Za-z0-9]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|pypi-[\w-]{50,}|cs_[0-9a-f]{12}_[A-Za-z0-9]{40}"
            r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9]))"
        ),
    ),
    Kind(
        "bearer",
        ("bearer", "basic "),
        re.compile(
            r"(?i:\bbearer|\bauthorization\W{1,4}basic)\s{1,3}(?P<secret>(?=[\w.~+/-]*\d)[\w.~+/-]{16,}={0,2})"
        ),
    ),
    Kind(
        "password",
        ("pass", "pwd", "secret", "key", "token", "密码", "口令", "密钥"),
        re.compile(
            rf"(?i:(?<![A-Za-z])(?:{NAMED}))(?:\\?[\"'])?\s{{0,3}}(?:[:=：]|\bis\b|是|为)\s{{0,3}}(?:\\?[\"'])?"
            r"(?P<secret>(?=[^\s\"'，。]{0,200}?(?:\d|[!@#$%^&*_+=~][A-Za-z0-9]))[^\s\"'\\,;，。；<>\[\](){}]{6,200})"
        ),
    ),
    Kind("password", ("://",), re.compile(r"://[^\s/@:]{0,100}:(?P<secret>[^\s/@]{1,200})@")),
    Kind("card", (), re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\w-])"), _is_card),
)


class Known(NamedTuple):
    kinds: tuple[Kind, ...]
    signs: tuple[str, ...]
    """Of all of them, and of their beginnings. The empty text, which is in every text, where a sign is not known."""
    beginnings: tuple[Beginning, ...]


def is_plain(text: str) -> bool:
    """Whether nothing in it is a sign of a secret, nor of the beginning of one: nearly always, so this is quick."""
    lowered = text.lower()
    for sign in _known().signs:  # no any(): its generator would cost as much again
        if sign in lowered:
            return False
    return _DIGITS.search(text) is None


def found_in(text: str) -> list[Found]:
    """What of the text is secret, from left to right, none over another."""
    if is_plain(text):
        return []
    lowered = text.lower()
    taken: list[Found] = []
    for kind in _known().kinds:
        if not kind.signs or any(sign in lowered for sign in kind.signs):
            taken = sorted([*taken, *(found for found in _matches(kind, text) if not is_over(found, taken))])
    return taken


def _matches(kind: Kind, text: str) -> Iterator[Found]:
    group = "secret" if "secret" in kind.pattern.groupindex else 0
    for match in kind.pattern.finditer(text):
        if match.end(group) > match.start(group) and kind.is_one(match[group]):
            yield Found(*match.span(group), kind.name)


def is_over(found: Found, others: list[Found]) -> bool:
    """Whether it shares a character with one of the others: from left to right, none over another."""
    at = bisect_left(others, found.end, key=lambda other: other.start)
    return at > 0 and others[at - 1].end > found.start


def open_from(text: str) -> int:
    """Where the end of the text may be the beginning of a secret; its length when it is none."""
    return secret_beginnings.open_from(text, _known().beginnings)


@cache
def _known() -> Known:
    """The kinds above, less those that are left out, with the settings' own secrets and the patterns that are added."""
    own = [value for value in map(str, filter(None, _own_secrets())) if len(value) >= LEAST_OWN]
    added = [Kind("configured", (), re.compile(pattern)) for pattern in settings.SECRET_PATTERNS]
    values = [Kind("own-key", (value.lower(),), re.compile(re.escape(value))) for value in own]
    kinds = [kind for kind in KINDS if kind.name not in settings.SECRET_KINDS_OFF]
    signs = [""] if added else [sign for kind in kinds for sign in kind.signs]
    begins = [beginning(r"\S*", 4, rf"{re.escape(value[:4])}\S*+") for value in own]
    begins += [beginning(r"\S*", 0, r"\S+")] if added else []
    return Known(
        (*values, *added, *kinds),
        tuple(dict.fromkeys([*signs, "-----begin", *(value[:4].lower() for value in own)])),
        (*BEGINNINGS, *begins),
    )


def _own_secrets() -> tuple[object, ...]:
    return (
        settings.OPENAI_API_KEY,
        settings.SECRET_KEY,
        settings.METRICS_TOKEN,
        settings.EMAIL_HOST_PASSWORD,
        settings.DATABASES["default"].get("PASSWORD"),
    )


@receiver(setting_changed)
def _forget(**_: object) -> None:
    _known.cache_clear()
