"""What people fill in about notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from runtime.webhooks import addresses

from apps.approvals.notifications.models import (
    CHOOSABLE,
    GroupPreference,
    Preference,
    WebhookEndpoint,
    all_kinds,
)

if TYPE_CHECKING:
    EndpointModelForm = forms.ModelForm[WebhookEndpoint]
    GroupModelForm = forms.ModelForm[GroupPreference]
    PreferenceModelForm = forms.ModelForm[Preference]
else:
    EndpointModelForm = GroupModelForm = PreferenceModelForm = forms.ModelForm

ABOUT_MODE = _(
    "A decision is only ever told in collected e-mails, and to those who were told of the request."
)


def _events() -> forms.TypedMultipleChoiceField:
    return forms.TypedMultipleChoiceField(
        label=capfirst(_("events")),
        choices=CHOOSABLE,
        coerce=str,
        widget=forms.CheckboxSelectMultiple,
        required=False,
        initial=all_kinds,
    )


class WebhookForm(EndpointModelForm):
    events = _events()
    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Signs what is sent; nobody gets to see it again. Left empty, a stored one stays."),
    )
    forget_secret = forms.BooleanField(label=_("Forget the stored secret"), required=False)

    class Meta:
        model = WebhookEndpoint
        fields: ClassVar = ["name", "is_enabled", "format", "url", "group", "events"]
        help_texts: ClassVar = {
            "url": _("Must begin with https:// and lead out of the internal network."),
            "format": _(
                "JSON for systems of your own; the others are chats with a message format of theirs."
            ),
        }

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"])
        try:
            addresses.check_url(url)
        except addresses.Refused as refused:
            raise forms.ValidationError(str(refused)) from refused
        return url

    def save(self, commit: bool = True) -> WebhookEndpoint:
        if self.cleaned_data["forget_secret"]:
            self.instance.secret = ""
        elif self.cleaned_data["secret"]:
            self.instance.secret = self.cleaned_data["secret"]
        endpoint: WebhookEndpoint = super().save(commit)
        return endpoint


class GroupPreferenceForm(GroupModelForm):
    events = _events()

    class Meta:
        model = GroupPreference
        fields: ClassVar = ["group", "mode", "every", "events"]
        help_texts: ClassVar = {"mode": ABOUT_MODE}


class PreferenceForm(PreferenceModelForm):
    events = _events()

    class Meta:
        model = Preference
        fields: ClassVar = ["mode", "every", "events", "language"]
        widgets: ClassVar = {"mode": forms.RadioSelect}
        help_texts: ClassVar = {"mode": ABOUT_MODE}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
