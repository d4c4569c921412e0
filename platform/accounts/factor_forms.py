"""What is asked of who signs in with, sets up or takes away a second factor."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import User

WRONG_PASSWORD = _("This is not your password.")


class _CodeField(forms.CharField):
    def __init__(self, **kwargs: Any) -> None:
        shown = {"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        super().__init__(max_length=40, widget=forms.TextInput(attrs=shown), **kwargs)


class CodeForm(forms.Form):
    code = _CodeField(
        label=_("Code"),
        help_text=_("Six digits from your authenticator app, or one of your recovery codes."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].widget.attrs["autofocus"] = True


class SetUpForm(forms.Form):
    """Who is signed in gives the password again: an open screen is no way to lock somebody out."""

    code = _CodeField(label=_("Code"), help_text=_("The six digits that the app shows now."))
    password = forms.CharField(
        label=_("Your password"),
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(
        self, *args: Any, request: HttpRequest, user: User, asks_password: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.user = request, user
        if not asks_password:
            del self.fields["password"]

    def clean_password(self) -> str:
        """By `authenticate`: wrong ones count as at the sign-in."""
        password: str = self.cleaned_data["password"]
        found = authenticate(self.request, username=self.user.get_username(), password=password)
        if found is None or found.pk != self.user.pk:
            raise forms.ValidationError(WRONG_PASSWORD)
        return password
