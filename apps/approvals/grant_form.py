"""What an approver fills in to allow calls like the one they look at for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from runtime.models import ToolCall

from apps.approvals.arguments import ordered
from apps.approvals.fields import unix_lines
from apps.approvals.grants import Pattern, number_of

PREFIX = "grant"
SPANS = [
    ("1", gettext_lazy("an hour")),
    ("8", gettext_lazy("8 hours")),
    ("24", gettext_lazy("a day")),
    ("168", gettext_lazy("a week")),
]


class GrantForm(forms.Form):
    """For each argument of the call: only this value, at most it, or any."""

    times = forms.IntegerField(
        label=gettext_lazy("How many more calls"), min_value=1, max_value=1000, initial=5
    )
    hours = forms.ChoiceField(label=gettext_lazy("For how long"), choices=SPANS, initial="8")
    scope = forms.ChoiceField(
        label=gettext_lazy("Where"),
        choices=[("thread", gettext_lazy("in this thread")), ("user", gettext_lazy("in all their threads"))],
    )
    why = forms.CharField(label=gettext_lazy("Why (may be empty)"), required=False, max_length=200)

    def __init__(self, tool_call: ToolCall, data: QueryDict | None = None) -> None:
        super().__init__(data, prefix=PREFIX)
        self._args = tool_call.args
        for name in ordered(tool_call.args, tool_call.args_schema):
            self.fields[self._key(name)] = forms.ChoiceField(label=name, choices=self._choices(name))
        self.argument_names = [self._key(name) for name in ordered(tool_call.args, tool_call.args_schema)]

    def _key(self, name: str) -> str:
        return f"argument-{name}"

    def _choices(self, name: str) -> list[tuple[str, str]]:
        choices = [("is", _("only the value it has here"))]
        if number_of(self._args[name]) is not None:
            choices.append(("at_most", _("at most the value it has here")))
        return [*choices, ("any", _("any value"))]

    @property
    def arguments(self) -> list[forms.BoundField]:
        return [self[name] for name in self.argument_names]

    @property
    def terms(self) -> list[forms.BoundField]:
        return [self[name] for name in ("times", "hours", "scope", "why")]

    def as_grant(self) -> dict[str, Any]:
        """The arguments of `grants.give`."""
        data = self.cleaned_data
        return {
            "pattern": self._pattern(),
            "limit": data["times"],
            "ends_at": timezone.now() + timedelta(hours=int(data["hours"])),
            "in_thread": data["scope"] == "thread",
            "reason": unix_lines(data["why"]),
        }

    def _pattern(self) -> Pattern:
        chosen = {name: self.cleaned_data[self._key(name)] for name in self._args}
        return {
            name: {"any": True} if how == "any" else {how: self._args[name]} for name, how in chosen.items()
        }
