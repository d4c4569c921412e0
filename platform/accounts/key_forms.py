"""What is asked of who makes or replaces a key."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, User
from accounts.scopes import Scope, scopes_of

if TYPE_CHECKING:
    KeyModelForm = forms.ModelForm[ApiKey]
else:
    KeyModelForm = forms.ModelForm

LIFETIMES = [
    ("30", _("30 days")),
    ("90", _("90 days")),
    ("365", _("a year")),
    ("", _("until it is revoked")),
]
GRACES = [
    ("0", _("ends at once")),
    ("3600", _("works for another hour")),
    ("86400", _("works for another day")),
    ("604800", _("works for another week")),
]
NO_SCOPE = _("Choose at least one thing the key is for.")


class KeyForm(KeyModelForm):
    """For one's own key: offers the scopes that would give it anything."""

    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": NO_SCOPE},
    )
    lifetime = forms.ChoiceField(
        label=_("How long it works"), choices=LIFETIMES, initial="90", required=False
    )

    class Meta:
        model = ApiKey
        fields = ["name", "scopes"]

    def __init__(self, *args: Any, owner: User | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = list(Scope) if owner is None else scopes_of(owner)
        self.fields["scopes"].choices = [(scope.value, scope.label) for scope in offered]  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if not name.isprintable():
            raise forms.ValidationError(_("Use plain characters in the name."))
        return name

    @property
    def chosen_scopes(self) -> list[Scope]:
        return [Scope(each) for each in self.cleaned_data["scopes"]]

    @property
    def chosen_lifetime(self) -> timedelta | None:
        days = self.cleaned_data["lifetime"]
        return timedelta(days=int(days)) if days else None


class KeyForSomebodyForm(KeyForm):
    """For a superuser, who gives keys to accounts that nobody sits at."""

    class Meta:
        model = ApiKey
        fields = ["owner", "name", "scopes"]


class RotateForm(forms.Form):
    grace = forms.ChoiceField(label=_("The old key"), choices=GRACES, initial="0", widget=forms.RadioSelect)

    @property
    def chosen_grace(self) -> timedelta:
        return timedelta(seconds=int(self.cleaned_data["grace"]))
