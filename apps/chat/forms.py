"""What people send."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _
from runtime.models import Assistant


class MessageForm(forms.Form):
    text = forms.CharField(strip=False, error_messages={"required": _("Write a message first.")})

    def clean_text(self) -> str:
        """The message with plain newlines; its spaces are the writer's business."""
        text: str = self.cleaned_data["text"].replace("\r\n", "\n")
        if not text.strip():
            raise forms.ValidationError(_("Write a message first."))
        return text


class NewThreadForm(MessageForm):
    assistant = forms.ModelChoiceField(
        Assistant.objects.filter(is_active=True),
        error_messages={
            "required": _("Choose an assistant."),
            "invalid_choice": _("This assistant is no longer offered."),
        },
    )


class TitleForm(forms.Form):
    title = forms.CharField(max_length=200, error_messages={"required": _("Give the thread a title.")})
