"""Edited arguments, held against the tool's JSON schema."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.translation import gettext as _
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from runtime.exceptions import InvalidDecision


def checked(args: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The arguments, when the tool takes them. InvalidDecision names each one it does not, and why."""
    found = problems(args, schema)
    if found:
        raise InvalidDecision("\n".join(f"{name or _('arguments')}: {problem}" for name, problem in found))
    return args


def problems(args: Any, schema: dict[str, Any]) -> list[tuple[str, str]]:
    """(argument or "", what is wrong with it) for each thing the tool does not take, in a steady order."""
    if not isinstance(args, dict):
        return [("", _("Arguments are an object: names and values."))]
    # Nothing that PostgreSQL can't keep: it would be an error 500 at the save.
    unkept = [(name, _("It holds characters that can't be stored.")) for name in args if _unkept(args[name])]
    if unkept:
        return unkept
    strict = {"additionalProperties": False, **schema}
    validator = Draft202012Validator(strict, format_checker=FormatChecker())
    errors = sorted(validator.iter_errors(args), key=str)
    found = [(".".join(str(part) for part in error.absolute_path), _told(error)) for error in errors]
    return found + [problem for name in args if (problem := _out_of_bounds(name, args[name], schema))]


def ordered(names: Collection[str], schema: dict[str, Any]) -> list[str]:
    """What the tool needs comes first, as its author wrote it: jsonb keeps no order of keys."""
    needed = [name for name in schema.get("required", []) if name in names]
    return [*needed, *(name for name in names if name not in needed)]


def decimal_branch(schema: Any) -> dict[str, Any] | None:
    """The number's part of the schema when it is pydantic's for a Decimal: a number, or a text that holds one."""
    branches = schema.get("anyOf", []) if isinstance(schema, dict) else []
    by_type = {branch.get("type"): branch for branch in branches if isinstance(branch, dict)}
    return dict(by_type["number"]) if "number" in by_type and "string" in by_type else None


def as_decimal(text: str) -> Decimal | None:
    """The number a text holds; None when it holds none, or one without an end."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _out_of_bounds(name: str, value: Any, schema: dict[str, Any]) -> tuple[str, str] | None:
    """The schema bounds a Decimal only where it is a number: "-5" as a text would pass."""
    bounds = decimal_branch(schema.get("properties", {}).get(name))
    if bounds is None or not isinstance(value, str):
        return None
    number = as_decimal(value)
    if number is None:
        return None
    for error in Draft202012Validator(bounds).iter_errors(number):
        return name, error.message.replace(repr(number), value)
    return None


def _told(error: ValidationError) -> str:
    if decimal_branch(error.schema) is not None:
        return _("%(value)s is not a number this tool takes. Write it like 59.90.") % {
            "value": error.instance
        }
    return error.message


def _unkept(value: Any) -> bool:
    return any("\x00" in text or any("\ud800" <= char <= "\udfff" for char in text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
