"""Answers to a graph's questions: a value that its schema takes, or a text where it has none."""

from __future__ import annotations

import json
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from runtime import ledger
from runtime.exceptions import InvalidDecision
from runtime.schemas import Decision

from apps.approvals import arguments
from apps.approvals.fields import TextField
from apps.approvals.forms import ArgumentsForm, lines

Schema = dict[str, Any]

ANSWER = "answer"


def checked(decision: Decision, schema: Schema) -> str:
    """The answer as the ledger keeps it: as JSON where there is a schema. InvalidDecision says what is wrong."""
    answer = decision.get("answer", decision.get("message", ""))
    if not schema and (not isinstance(answer, str) or not answer.strip()):
        raise InvalidDecision(_("Write an answer."))
    problems = arguments.problems({ANSWER: answer}, _as_argument(schema))
    if problems:
        raise InvalidDecision("\n".join(f"{_short(name)}: {problem}" for name, problem in problems))
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False) if schema else answer
    if len(text) > ledger.RESULT_LIMIT:
        raise InvalidDecision(
            _("The answer is too long: at most %(count)s characters.") % {"count": ledger.RESULT_LIMIT}
        )
    return text


def _short(name: str) -> str:
    return name.removeprefix(f"{ANSWER}.") or _("answer")


def _as_argument(schema: Schema) -> Schema:
    """A schema of one argument, the answer."""
    return {
        "type": "object",
        "properties": {ANSWER: schema or {"type": "string"}},
        "required": [ANSWER],
        "$defs": schema.get("$defs", {}),
    }


def _defaults(properties: dict[str, Any]) -> dict[str, Any]:
    """What the form begins with, and the answer has when nobody changes it."""
    return {
        name: each["default"]
        for name, each in properties.items()
        if isinstance(each, dict) and "default" in each
    }


class AnswerForm(ArgumentsForm):
    """One field for each property of what is asked for, or one for all of it."""

    def __init__(self, schema: Schema, data: QueryDict | None = None) -> None:
        self.is_whole = not isinstance(schema.get("properties"), dict) or not schema["properties"]
        begin = {} if self.is_whole else _defaults(schema["properties"])
        super().__init__(begin, _as_argument(schema) if self.is_whole else schema, data)
        if self.is_whole:
            field = self.fields[ANSWER]
            field.label = str(schema.get("title") or _("Answer"))
            if isinstance(field, TextField):
                self.fields[ANSWER].widget = lines(3)

    def clean(self) -> dict[str, Any]:
        field = self.fields.get(ANSWER)
        is_text = self.is_whole and isinstance(field, TextField)
        if is_text and not str(self.data.get(self.add_prefix(ANSWER), "")).strip():
            self.add_error(ANSWER, _("Write an answer."))
        return super().clean()

    @property
    def answer(self) -> Any:
        return self.cleaned_data[ANSWER] if self.is_whole else self.cleaned_data
