"""Who may sign in with a password of ours, asked before the password is looked at."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts.models import User


class PasswordGate:
    """Refuses, or leaves it to the next backend. Sessions are the next one's too."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> None:
        if settings.PASSWORD_SIGN_IN == "everybody":  # noqa: S105
            return
        if not User.objects.filter(username=username, is_superuser=True).exists():
            User().set_password(password)  # as long as a look at one takes: nobody learns who is a superuser
            raise PermissionDenied


def may_use_password(user: User) -> bool:
    return settings.PASSWORD_SIGN_IN == "everybody" or user.is_superuser  # noqa: S105
