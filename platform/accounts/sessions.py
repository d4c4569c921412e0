"""Who is behind a session at this moment: a socket outlives sign-outs, changed passwords and switched-off accounts."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.models import User


def user_of(session_key: str | None) -> User | None:
    """The active person signed in with it; None when it is nobody's by now. Reads the database."""
    return people_of([session_key or ""]).get(session_key or "")


def people_of(session_keys: Collection[str]) -> dict[str, User]:
    """The same for many at once, in two queries; those that are nobody's by now are left out."""
    model = import_module(settings.SESSION_ENGINE).SessionStore.get_model_class()
    rows = model.objects.filter(session_key__in=session_keys, expire_date__gt=timezone.now())
    sessions: dict[str, dict[str, Any]] = {row.session_key: row.get_decoded() for row in rows}
    users = User.objects.filter(is_active=True).in_bulk(
        {int(data[SESSION_KEY]) for data in sessions.values() if SESSION_KEY in data}
    )
    found = {key: users.get(int(data.get(SESSION_KEY, 0))) for key, data in sessions.items()}
    return {key: user for key, user in found.items() if user and _still_holds(sessions[key], user)}


def _still_holds(session: dict[str, Any], user: User) -> bool:
    """As django.contrib.auth.get_user has it: a changed password ends every session begun with the old one."""
    begun_with = session.get(HASH_SESSION_KEY, "")
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return session.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS and any(
        constant_time_compare(begun_with, each) for each in hashes
    )
