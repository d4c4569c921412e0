"""The door's forms. Django's own say a name's length to the browser only; the record of failures can't hold more."""

from __future__ import annotations

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm, UsernameField

USERNAME_MAX_CHARS = 150


def _username() -> UsernameField:
    return UsernameField(max_length=USERNAME_MAX_CHARS, widget=forms.TextInput(attrs={"autofocus": True}))


class SignInForm(AuthenticationForm):
    username = _username()


class AdminSignInForm(AdminAuthenticationForm):
    username = _username()
