"""Reading the environment: every value is checked where it is read, and a bad one names itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from zoneinfo import available_timezones

import environ
from django.core.exceptions import ImproperlyConfigured
from limits import parse

T = TypeVar("T")

_env = environ.FileAwareEnv()  # NAME_FILE=/run/secrets/name is read as NAME


def _checked(name: str, read: Callable[[], T], wanted: str) -> T:
    try:
        return read()
    except (ValueError, TypeError, KeyError) as error:
        shown = os.environ.get(name, "")
        raise ImproperlyConfigured(f"{name}={shown!r} is not {wanted}. Correct it or unset it.") from error


def text(name: str, default: str = "") -> str:
    return str(_env.str(name, default=default))


def integer(name: str, default: int, *, minimum: int = 0, maximum: int | None = None) -> int:
    """The whole number in `name`. ImproperlyConfigured when it is none or out of bounds."""
    value = int(_checked(name, lambda: _env.int(name, default=default), "a whole number"))
    if value < minimum or (maximum is not None and value > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ImproperlyConfigured(f"{name}={value} must be {bounds}. Correct it or unset it.")
    return value


def seconds(name: str, default: float) -> float:
    """A duration in seconds, above zero."""
    value = float(_checked(name, lambda: _env.float(name, default=default), "a number of seconds"))
    if not 0 < value < float("inf"):
        raise ImproperlyConfigured(f"{name}={value} must be above zero. Correct it or unset it.")
    return value


def boolean(name: str, default: bool) -> bool:
    """true/false, 1/0, yes/no, on/off. Anything else is refused: a typo must not switch a guard off."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    return _checked(name, lambda: known[raw.strip().lower()], "true or false")


def choice(name: str, default: str, allowed: list[str]) -> str:
    """One of `allowed`, however its letters are cased. ImproperlyConfigured names them all."""
    value = text(name) or default
    for each in allowed:
        if value.lower() == each.lower():
            return each
    raise ImproperlyConfigured(f"{name}={value} must be one of {', '.join(allowed)}.")


def url(name: str) -> str:
    """An http(s) URL; empty when there is none."""
    value = text(name)
    if value and not value.startswith(("http://", "https://")):
        raise ImproperlyConfigured(
            f"{name}={value} must begin with http:// or https://. Correct it or unset it."
        )
    return value


def origins(name: str) -> list[str]:
    """Origins such as https://chat.example.com: no path, and no pattern for many."""
    found = names(name, [])
    for each in found:
        parts = urlsplit(each)
        if parts.scheme not in ("http", "https") or each != f"{parts.scheme}://{parts.netloc}" or "*" in each:
            raise ImproperlyConfigured(f"{name}={each} is no origin such as https://chat.example.com.")
    return found


def rate(name: str, default: str) -> str:
    """How often in how long, such as "100 per minute"; empty for "off"."""
    value = text(name, default)
    if value.strip().lower() == "off":
        return ""
    try:
        if parse(value).amount < 1:
            raise ValueError(value)
    except ValueError as error:
        raise ImproperlyConfigured(
            f'{name}={value} is no rate such as "100 per minute", nor "off".'
        ) from error
    return value


def time_zone(name: str, default: str) -> str:
    """A zone of the tz database, such as Europe/Berlin."""
    value = text(name, default)
    if value not in available_timezones():
        raise ImproperlyConfigured(
            f"{name}={value} is no time zone such as Europe/Berlin. Correct it or unset it."
        )
    return value


def names(name: str, default: list[str]) -> list[str]:
    """A comma-separated list, blanks dropped."""
    raw = os.environ.get(name)
    return default if raw is None else [part.strip() for part in raw.split(",") if part.strip()]


def subset(name: str, allowed: list[str]) -> list[str]:
    """Some of `allowed`, or none. ImproperlyConfigured names them all."""
    found = names(name, [])
    if unknown := [each for each in found if each not in allowed]:
        raise ImproperlyConfigured(f"{name}={','.join(unknown)}: only {', '.join(allowed)} can be named.")
    return found


def patterns(name: str) -> list[str]:
    """Regular expressions, one a line. None of them may fit an empty text."""
    found = [line.strip() for line in text(name).splitlines() if line.strip()]
    for each in found:
        try:
            fits_nothing = re.search(each, "") is not None
        except re.error as error:
            raise ImproperlyConfigured(f"{name}: {each!r} is no regular expression: {error}.") from error
        if fits_nothing:
            raise ImproperlyConfigured(f"{name}: {each!r} fits an empty text, and so every text.")
    return found


def mapping(name: str, default: dict[str, str]) -> dict[str, str]:
    """`key=value,key=value`."""
    pairs = names(name, [])
    if not pairs:
        return default
    return _checked(name, lambda: dict(pair.split("=", 1) for pair in pairs), "a list of key=value")


def prices(name: str) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """`model=input/cached input/output` for a million tokens each, comma-separated."""

    def read() -> dict[str, tuple[Decimal, Decimal, Decimal]]:
        found = {}
        for model, written in mapping(name, {}).items():
            price, cached, out = (Decimal(each) for each in written.split("/"))
            if not all(each.is_finite() and each >= 0 for each in (price, cached, out)):
                raise ValueError(written)
            found[model] = (price, cached, out)
        return found

    try:
        return read()
    except (ValueError, ArithmeticError) as error:
        raise ImproperlyConfigured(
            f"{name}={text(name)} is no list such as gpt-5-mini=0.25/0.025/2.00. Correct it or unset it."
        ) from error


def database(name: str, default: str) -> dict[str, Any]:
    """Django's DATABASES entry for a postgresql:// URL; a socket folder goes percent-encoded in the host.

    What stands after the `?` (sslmode and the like) is in its OPTIONS.
    """
    url = os.environ.get(name) or default
    if not url.startswith(("postgres://", "postgresql://")):
        raise ImproperlyConfigured(f"{name} must be a postgresql:// URL: PostgreSQL holds the truth here.")
    entry = dict(_checked(name, lambda: environ.Env.db_url_config(url), "a postgresql:// URL"))
    entry["HOST"] = unquote(str(entry["HOST"]))
    entry.setdefault("OPTIONS", {})
    return entry
