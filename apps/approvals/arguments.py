"""Edited arguments, held against the tool's JSON schema."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from runtime.exceptions import InvalidDecision

WRONG = {
    "required": gettext_lazy("The tool needs this."),
    "additionalProperties": gettext_lazy("The tool takes nothing of this name."),
    "type": gettext_lazy("It must be: %(says)s."),
    "enum": gettext_lazy("It must be one of: %(says)s."),
    "const": gettext_lazy("It must be: %(says)s."),
    "minimum": gettext_lazy("It must be at least %(says)s."),
    "maximum": gettext_lazy("It must be at most %(says)s."),
    "exclusiveMinimum": gettext_lazy("It must be more than %(says)s."),
    "exclusiveMaximum": gettext_lazy("It must be less than %(says)s."),
    "multipleOf": gettext_lazy("It must be a multiple of %(says)s."),
    "minLength": gettext_lazy("It must have at least %(says)s characters."),
    "maxLength": gettext_lazy("It must have at most %(says)s characters."),
    "minItems": gettext_lazy("It must have at least %(says)s entries."),
    "maxItems": gettext_lazy("It must have at most %(says)s entries."),
    "pattern": gettext_lazy("It must have this form: %(says)s."),
}
"""What is wrong, by the word of JSON Schema; `says` is what the schema says there. Other words: in English."""

TYPES = {
    "string": gettext_lazy("a text"),
    "integer": gettext_lazy("a whole number"),
    "number": gettext_lazy("a number"),
    "boolean": gettext_lazy("true or false"),
    "array": gettext_lazy("a list"),
    "object": gettext_lazy("names and values"),
    "null": gettext_lazy("nothing"),
}


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
    found = list(dict.fromkeys((name, _told(error)) for error in errors for name in _named(error)))
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


def _named(error: ValidationError) -> Iterator[str]:
    """The argument that is wrong, or the ones that are missing or too many."""
    path = [str(part) for part in error.absolute_path]
    schema: Any = error.schema
    given: Any = error.instance
    match error.validator:
        case "required":
            names = [name for name in schema["required"] if name not in given]
        case "additionalProperties":
            names = [name for name in given if name not in schema.get("properties", {})]
        case _:
            names = [""]
    for name in names:
        yield ".".join([*path, name] if name else path)


def _told(error: ValidationError) -> str:
    if decimal_branch(error.schema) is not None:
        return _("%(value)s is not a number this tool takes. Write it like 59.90.") % {
            "value": error.instance
        }
    says: Any = error.validator_value
    if error.validator == "type":
        says = " / ".join(str(TYPES.get(each, each)) for each in ([says] if isinstance(says, str) else says))
    elif error.validator == "enum":
        says = ", ".join(map(str, says))
    return str(WRONG[error.validator]) % {"says": says} if error.validator in WRONG else error.message


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
