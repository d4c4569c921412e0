"""A call that somebody makes up, to see which rule it would meet."""

from __future__ import annotations

import json
from typing import Any

from accounts.models import User
from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from runtime.models import Assistant, ToolCall

from apps.approvals.comparison import decoded
from apps.approvals.models import PolicyRule

TOOLS = 200  # names that are offered


class TryForm(forms.Form):
    assistant = forms.ModelChoiceField(Assistant.objects.none(), label=gettext_lazy("Assistant"))
    tool = forms.CharField(
        label=gettext_lazy("Tool"),
        max_length=100,
        widget=forms.TextInput({"list": "known-tools", "autocomplete": "off"}),
    )
    requester = forms.CharField(
        label=gettext_lazy("Requester"),
        max_length=150,
        required=False,
        help_text=gettext_lazy("Name to sign in with. Empty: yourself."),
    )
    arguments = forms.CharField(
        label=gettext_lazy("Arguments as JSON"),
        max_length=100_000,
        initial="{}",
        widget=forms.Textarea({"rows": 8, "cols": 60, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, user: User, may_ask_for_others: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.may_ask_for_others = may_ask_for_others
        assistants: Any = self.fields["assistant"]
        assistants.queryset = Assistant.objects.order_by("name")
        assistants.empty_label = None

    def clean_requester(self) -> User:
        name = self.cleaned_data["requester"]
        if not name or name == self.user.get_username():
            return self.user
        if not self.may_ask_for_others:
            raise forms.ValidationError(_("You may not see other people's calls: leave this empty."))
        found = User.objects.filter(username=name).first()
        if found is None:
            raise forms.ValidationError(_("Nobody signs in as %(name)s.") % {"name": name})
        return found

    def clean_arguments(self) -> dict[str, Any]:
        args = decoded(self.cleaned_data["arguments"])
        if not isinstance(args, dict):
            raise forms.ValidationError(
                _("Write a JSON object: in braces, each name in double quotes and once.")
            )
        return args

    def as_call(self) -> ToolCall:
        """Never saved. Sensitive, unless the tool's newest call says otherwise."""
        data = self.cleaned_data
        known = ToolCall.objects.filter(tool=data["tool"]).order_by("-created_at").first()
        return ToolCall(
            user=data["requester"],
            assistant=data["assistant"],
            tool=data["tool"],
            args=data["arguments"],
            sensitive=known is None or known.sensitive,
        )


def from_call(call: ToolCall) -> dict[str, Any]:
    """The form filled in with a call there was."""
    return {
        "assistant": call.assistant_id,
        "tool": call.tool,
        "requester": call.user.get_username(),
        "arguments": json.dumps(call.proposed_args, ensure_ascii=False, indent=2),
    }


def known_tools() -> list[str]:
    """Of calls and of rules that name one."""
    called = ToolCall.objects.order_by().values_list("tool", flat=True).distinct()[:TOOLS]
    named = PolicyRule.objects.values_list("tool", flat=True)
    return sorted({*called, *(tool for tool in named if not set(tool) & set("*?["))})
