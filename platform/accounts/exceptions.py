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


class CodeNeeded(Unauthenticated):
    """The password was right, and a code has to come with it."""

    message = _(
        "This account signs in with a code too. Send the one your authenticator app shows, as `code`."
    )


class WrongCode(Unauthenticated):
    """The code is none, or was used before."""

    message = _("This code is not right, or was used before. Wait for the next one your app shows.")


class FactorLocked(Refusal):
    """Too many wrong codes came for this account, from wherever."""

    message = _("Too many wrong codes. Codes of this account are refused for a quarter of an hour.")
    status = 429


class FactorMissing(Forbidden):
    """Staff have to set up their app before anything else."""

    message = _("Your account needs an authenticator app. Sign in on the website once, and set it up there.")


class FactorExists(Refusal):
    """Another page set one up meanwhile."""

    message = _("This account has an authenticator app by now. Sign in with a code of it.")


class NotLetIn(Forbidden):
    """The provider of single sign-on knows them, and there is no account here that they may use."""

    message = _(
        "There is no account here for you. Ask an administrator to make one with your e-mail address."
    )


class ProviderAway(Refusal):
    """The provider of single sign-on can't be reached, or answers nonsense."""

    message = _("The place where you sign in can't be reached right now. Try again in a moment.")
    status = 502


class BadAnswer(Refusal):
    """What came back from the provider is forged, stale, or of another browser."""

    message = _("This sign-in is not valid, or took too long. Start again.")
    status = 400
