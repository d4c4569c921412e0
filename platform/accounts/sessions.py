"""Who is behind a session at this moment: a socket outlives sign-outs, changed passwords and switched-off accounts."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from accounts.models import User


def user_of(session_key: str | None) -> User | None:
    """The active person signed in with it; None when it is nobody's by now. Reads the database."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None
