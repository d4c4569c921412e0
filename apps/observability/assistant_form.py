"""The form for what operators may change of an assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _
from runtime.models import Assistant

STARTERS = 4  # as many as the empty thread has room for
STARTER_LENGTH = 200  # characters

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Assistant]
else:
    ModelForm = forms.ModelForm


class AssistantForm(ModelForm):
    """Starters are typed one a line, and stored as a list."""

    starters = forms.CharField(
        label=_("Starters"),
        required=False,
        widget=forms.Textarea(attrs={"rows": STARTERS}),
        help_text=_("Up to four messages offered when a thread is empty, one a line."),
    )

    class Meta:
        model = Assistant
        fields = ("name", "description", "starters", "is_active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["starters"] = "\n".join(map(str, self.instance.starters))

    def save(self, commit: bool = True) -> Assistant:
        """One that was retired and is offered again is in use again."""
        if self.cleaned_data["is_active"]:
            self.instance.retired_at = None
        assistant: Assistant = super().save(commit)
        return assistant

    def clean_starters(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["starters"].splitlines()]
        starters = [line for line in lines if line]
        if len(starters) > STARTERS:
            raise forms.ValidationError(_("At most %(number)s.") % {"number": STARTERS})
        if any(len(starter) > STARTER_LENGTH for starter in starters):
            raise forms.ValidationError(
                _("At most %(number)s characters a line.") % {"number": STARTER_LENGTH}
            )
        return starters
