"""Form fields made from a tool's JSON schema. A field nobody touched keeps its value to the last bit."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from django import forms
from django.utils.translation import gettext as _

from apps.approvals.arguments import as_decimal, decimal_branch
from apps.approvals.visible import is_shapeless

LONG = 80  # characters from which a text gets several lines

OMITTED = object()
"""Left empty, and the tool has a default of its own."""


class ArgumentField(forms.CharField):
    """A text in the browser, a JSON value in Python. `original` is the value as it stands."""

    widget = forms.TextInput

    def __init__(self, original: Any, *, nullable: bool, optional: bool, **options: Any) -> None:
        self.original = original
        self.nullable = nullable
        self.optional = optional
        options["initial"] = "" if original is OMITTED or original is None else self.shown(original)
        if any(is_shapeless(char) for char in options["initial"]):
            hidden = _("It holds characters that can't be seen: they are written as escapes further up.")
            options["help_text"] = f"{options['help_text']} {hidden}".strip()
        super().__init__(strip=False, required=False, **options)

    def shown(self, value: Any) -> str:
        return str(value)

    def read(self, text: str) -> Any:
        """The value of what was typed. Raises ValueError."""
        raise NotImplementedError

    def clean(self, value: Any) -> Any:
        text = unix_lines(str(super().clean(value) or ""))
        if text == unix_lines(self.initial):
            return self.original
        if text == "" and not isinstance(self, TextField):
            return self._emptied()
        try:
            return self.read(text)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(str(error)) from error

    def _emptied(self) -> Any:
        if self.nullable:
            return None
        if self.optional:
            return OMITTED
        raise forms.ValidationError(_("The tool needs this."))


class TextField(ArgumentField):
    def read(self, text: str) -> str:
        return text


class DecimalField(ArgumentField):
    """Stays a text, "59.90": a float would lose the last digit. The schema's check holds it to its bounds."""

    def read(self, text: str) -> str:
        if as_decimal(text.strip()) is None:
            raise ValueError(_("Write a number, such as 59.90."))
        return text.strip()


class IntegerField(ArgumentField):
    def read(self, text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,40}", text.strip()):
            raise ValueError(_("Write a whole number."))
        return int(text)


class NumberField(ArgumentField):
    def shown(self, value: Any) -> str:
        return json.dumps(value)

    def read(self, text: str) -> int | float:
        number = _json(text)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(_("Write a number, such as 12.5."))
        return number


class JSONField(ArgumentField):
    def __init__(self, original: Any, **options: Any) -> None:
        super().__init__(original, widget=forms.Textarea({"rows": 4}), **options)

    def shown(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=2)

    def read(self, text: str) -> Any:
        return _json(text)


class ChoiceField(ArgumentField):
    """One of the schema's values, each written as JSON so that "1" and 1 stay two."""

    def __init__(self, original: Any, values: list[Any], **options: Any) -> None:
        shown = [json.dumps(value) for value in values]
        labels = [value if isinstance(value, str) else json.dumps(value) for value in values]
        blank = [] if original in values else [("", "–")]
        options["widget"] = forms.Select(choices=[*blank, *zip(shown, labels, strict=True)])
        super().__init__(original, **options)
        self.allowed = shown

    def shown(self, value: Any) -> str:
        return json.dumps(value)

    def read(self, text: str) -> Any:
        if text not in self.allowed:
            raise ValueError(_("Pick one of the list."))
        return json.loads(text)


def field_for(name: str, schema: dict[str, Any], root: dict[str, Any], original: Any) -> ArgumentField:
    """The field for one property of the tool's schema; JSON in a text area for whatever is not plain."""
    plain, nullable = _plain(schema, root)
    options: dict[str, Any] = {
        "label": str(plain.get("title") or schema.get("title") or name),
        "help_text": str(schema.get("description") or plain.get("description") or ""),
        "nullable": nullable,
        "optional": name not in root.get("required", []),
    }
    if decimal_branch(plain) is not None and _is_decimal(original):
        return DecimalField(original, widget=forms.TextInput({"inputmode": "decimal"}), **options)
    if isinstance(plain.get("enum"), list):
        return ChoiceField(original, plain["enum"], **options)
    kind = plain.get("type")
    if kind == "boolean":
        return ChoiceField(original, [True, False], **options)
    if kind == "integer":
        return IntegerField(original, widget=forms.TextInput({"inputmode": "numeric"}), **options)
    if kind == "number":
        return NumberField(original, widget=forms.TextInput({"inputmode": "decimal"}), **options)
    if kind == "string" and (original is OMITTED or original is None or isinstance(original, str)):
        return TextField(original, widget=_text_widget(original, plain), **options)
    return JSONField(original, **options)


def _is_decimal(original: Any) -> bool:
    """A text that holds a number, or nothing yet: "a number or any text" has the same schema as a Decimal."""
    return (
        original is OMITTED
        or original is None
        or (isinstance(original, str) and as_decimal(original) is not None)
    )


def unix_lines(text: str) -> str:
    """Browsers send "\\r\\n" for each line end of a text area."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _plain(schema: dict[str, Any], root: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The schema behind a reference and without its "or null"; and whether there was one."""
    found = _dereferenced(schema, root)
    branches = [_dereferenced(branch, root) for branch in found.get("anyOf", [])]
    others = [branch for branch in branches if branch.get("type") != "null"]
    if len(others) == len(branches):
        return found, False
    return (others[0] if len(others) == 1 else {**found, "anyOf": others}), True


def _dereferenced(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(schema, dict):
        return {}
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    return dict(root.get("$defs", {}).get(name, schema))


def _text_widget(original: Any, schema: dict[str, Any]) -> forms.Widget:
    is_long = isinstance(original, str) and (len(original) > LONG or "\n" in original)
    if is_long or schema.get("maxLength", 0) > 500:
        return forms.Textarea({"rows": 4})
    return forms.TextInput()


def _json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(_("%(constant)s is no JSON.") % {"constant": constant})

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(
            _("This is no JSON: %(why)s (line %(line)s).") % {"why": error.msg, "line": error.lineno}
        ) from error
