"""What a door answers with. The docstring is the message to show."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _


class Refusal(Exception):
    """It was refused."""

    message: Any = _("It was refused.")
    status = 409  # HTTP status a door answers with
    headers: dict[str, str] = {}

    def __init__(self, message: Any = None) -> None:
        super().__init__(str(message or self.message))


class Unauthenticated(Refusal):
    """Nobody is known by what came with the request."""

    message = _("Sign in, or send a key as x-api-key or as Authorization: Bearer.")
    status = 401
    headers = {"WWW-Authenticate": 'Bearer realm="Countersign"'}


class BadCredential(Unauthenticated):
    """A key or a token came, and is none, or none any more: nothing else is tried in its place."""

    message = _("This key or token is not valid, or not any more. Make a new one, or sign in again.")
    headers = {"WWW-Authenticate": 'Bearer realm="Countersign", error="invalid_token"'}


class Forbidden(Refusal):
    """The caller is known, and may not."""

    message = _("Your account may not do this. Ask an administrator for the role it needs.")
    status = 403


class OutOfScope(Forbidden):
    """The owner may, this key may not."""

    message = _("This key was not made for this. Make one with the scope that is needed.")
    headers = {"WWW-Authenticate": 'Bearer realm="Countersign", error="insufficient_scope"'}


class KeyEnded(Refusal):
    """The key was revoked, replaced or has expired."""

    message = _("This key was revoked or replaced, or has expired. Reload the page.")


class TooManyKeys(Refusal):
    """The owner has as many keys as one may have."""

    message = _("You have as many keys as one person may have. Revoke one that is no longer used.")
