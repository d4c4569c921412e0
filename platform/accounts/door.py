"""The way in: a password is the first half where an account needs a factor, and opens nothing by itself.

What is half signed in is a session with a note of who gave the right password. It names no user to Django: pages, the
admin, sockets and the API see nobody, until `finish` signs in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth import login
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts import factors
from accounts.exceptions import CodeNeeded, FactorLocked, FactorMissing, WrongCode
from accounts.models import User

_NOTE = "half_signed_in"
HALF_FOR = 600.0  # seconds


@dataclass(frozen=True)
class Half:
    """Somebody whose password was right."""

    user: User
    backend: str
    next: str
    """Where they are going: looked at already, an address of ours."""


def enter(request: HttpRequest, user: User, backend: str, to: str, *, is_enough: bool = False) -> bool:
    """Signs in, or notes the first half: then False, and the factor is to be asked for.

    `is_enough`: they have shown elsewhere more than a password.
    """
    if is_enough or not user.needs_factor:
        request.session.pop(_NOTE, None)
        login(request, user, backend=backend)
        return True
    # A new id: whoever planted the old one would have the first half of a sign-in.
    request.session.cycle_key()
    request.session[_NOTE] = {
        "user": user.pk,
        "backend": backend,
        "next": to,
        "hash": user.get_session_auth_hash(),
        "at": time.time(),
    }
    return False


def half_signed_in(request: HttpRequest) -> Half | None:
    """None when nobody is, or when it took too long, or the account was changed or switched off meanwhile."""
    note: dict[str, Any] | None = request.session.get(_NOTE)
    if note is None or time.time() - note["at"] > HALF_FOR:
        return None
    user = User.objects.filter(pk=note["user"], is_active=True).first()
    if user is None or not constant_time_compare(note["hash"], user.get_session_auth_hash()):
        return None
    return Half(user, note["backend"], note["next"])


def finish(request: HttpRequest, half: Half) -> None:
    """After the factor was given or set up."""
    request.session.pop(_NOTE, None)
    login(request, half.user, backend=half.backend)


def check_code(request: HttpRequest, user: User, code: str) -> None:
    """As factors.check; wrong codes count with wrong passwords, of the account and of the address."""
    credentials = {"username": user.get_username()}
    if not AxesProxyHandler.is_allowed(request, credentials):
        request.axes_locked_out = True  # type: ignore[attr-defined]  # its middleware answers
        raise FactorLocked()
    try:
        factors.check(user, code)
    except (WrongCode, FactorLocked):
        count_failure(request, user)
        raise


def count_failure(request: HttpRequest, user: User) -> None:
    credentials = {"username": user.get_username()}
    user_login_failed.send(sender=__name__, credentials=credentials, request=request)


def require_code(request: HttpRequest, user: User, code: str) -> None:
    """For a program, which gives password and code in one. Raises CodeNeeded, FactorMissing, and as check_code."""
    if not user.needs_factor:
        return
    if user.factor_id is None:
        raise FactorMissing()
    if not code:
        raise CodeNeeded()
    check_code(request, user, code)
