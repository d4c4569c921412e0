"""What people fill in: a decision, the arguments to run instead."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from runtime.models import CallKind
from runtime.schemas import Decision

from apps.approvals import arguments
from apps.approvals.arguments import ordered
from apps.approvals.fields import OMITTED, ArgumentField, field_for, unix_lines
from apps.approvals.models import ApprovalRequest

PREFIX = "arg"


def lines(rows: int) -> forms.Textarea:
    return forms.Textarea({"rows": rows, "cols": 60})


class DecisionForm(forms.Form):
    """Everything but the arguments. Each kind of decision reads its own box."""

    is_in_tools_place = True
    """What is answered: a call in its tool's place. The answer to a question has a form of its own."""
    decision = forms.ChoiceField(
        choices=[(kind, kind) for kind in ("approve", "edit", "respond", "reject")],
        widget=forms.HiddenInput,
    )
    digest = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    note = forms.CharField(
        label=gettext_lazy("Note (may be empty)"), required=False, max_length=2000, widget=lines(2)
    )
    answer = forms.CharField(label=gettext_lazy("Answer"), required=False, max_length=20_000, widget=lines(4))
    reason = forms.CharField(label=gettext_lazy("Reason"), required=False, max_length=2000, widget=lines(3))
    override = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        kind = data.get("decision")
        if data.get("override"):
            return data
        if kind == "reject" and not data.get("reason") and "reason" not in self.errors:
            self.add_error("reason", _("Give a reason: the assistant and the requester are told."))
        if (
            kind == "respond"
            and self.is_in_tools_place
            and not data.get("answer")
            and "answer" not in self.errors
        ):
            self.add_error("answer", _("Write the answer the assistant is to get in place of the tool's."))
        return data

    def as_decision(self) -> Decision:
        """Always with a digest: a page that sent none has not shown the arguments."""
        data = self.cleaned_data
        box = {"reject": "reason", "respond": "answer"}.get(data["decision"], "note")
        box = "note" if data["override"] else box  # it has one box, whatever is decided
        decision = Decision(type=data["decision"], message=unix_lines(data[box]), digest=data["digest"])
        return {**decision, "override": True} if data["override"] else decision


class ArgumentsForm(forms.Form):
    """One field for each argument of the tool, prefilled with what would run."""

    def __init__(self, args: dict[str, Any], schema: dict[str, Any], data: QueryDict | None = None) -> None:
        super().__init__(data, prefix=PREFIX)
        self.schema = schema
        properties = {**{key: {} for key in args}, **schema.get("properties", {})}
        for name in ordered(properties, schema):
            self.fields[name] = field_for(name, properties[name], schema, args.get(name, OMITTED))
        self.unknown = [
            key
            for key in data or ()
            if key.startswith(f"{PREFIX}-") and key[len(PREFIX) + 1 :] not in properties
        ]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        args = {name: value for name, value in data.items() if value is not OMITTED}
        for key in self.unknown:
            self.add_error(
                None, _("The tool takes no argument called %(name)s.") % {"name": key[len(PREFIX) + 1 :]}
            )
        if not self.errors:
            for path, problem in arguments.problems(args, self.schema):
                name = path.partition(".")[0]
                self.add_error(name if name in self.fields else None, problem)
        return args

    @property
    def touched(self) -> list[str]:
        """Labels of the arguments whose text is another than the page showed."""
        return [
            str(field.label)
            for name, field in self.fields.items()
            if isinstance(field, ArgumentField) and self._differs(name, field)
        ]

    def _differs(self, name: str, field: ArgumentField) -> bool:
        posted = self.data.get(self.add_prefix(name))
        if posted is None:
            return False
        try:
            return field.clean(posted) is not field.original
        except forms.ValidationError:
            return True


class BulkForm(forms.Form):
    """One reason for all that are rejected together."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=2000, widget=lines(3))


class QuestionForm(DecisionForm):
    """The same on a graph's question."""

    is_in_tools_place = False


def decision_form(request: ApprovalRequest, data: QueryDict | None = None) -> DecisionForm:
    """What was posted, or what the page begins with."""
    form = QuestionForm if request.tool_call.kind == CallKind.QUESTION else DecisionForm
    return form(data, initial={"digest": request.tool_call.args_digest})
