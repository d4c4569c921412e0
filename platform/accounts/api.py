"""Signing in to the API by name and password, and who one is there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema, Status
from pydantic import Field

from accounts import door, tokens
from accounts.callers import CallerAuth, How, caller_of
from accounts.exceptions import BadCredential
from accounts.forms import USERNAME_MAX_CHARS
from accounts.models import ApiKey, User
from accounts.problems import bodied, problems
from accounts.scopes import Scope, scopes_of

router = Router(tags=["auth"])

NOT_FROM_A_KEYBOARD = r"^[^\x00]*$"
WRONG = _("The name or the password is not right. Too many wrong tries lock the account for a while.")


class SignIn(Schema):
    # The record of failures holds no more of a name, and PostgreSQL no NUL.
    username: str = Field(max_length=USERNAME_MAX_CHARS, pattern=NOT_FROM_A_KEYBOARD)
    password: str = Field(max_length=4096)
    code: str = Field(default="", max_length=40)
    """Of the authenticator app, or a recovery code, for an account that has one."""


class RefreshToken(Schema):
    refresh: str = Field(max_length=4096)


class TokenPair(Schema):
    access: str
    """Sent as `Authorization: Bearer` with every request."""
    refresh: str
    """Works once, for the next pair. Coming a second time it ends all that came of this sign-in."""
    expires_in: int
    """Seconds for which `access` works."""
    token_type: str = "Bearer"  # noqa: S105


class Me(Schema):
    username: str
    name: str
    how: How
    scopes: list[Scope]
    """What may be done by this way: the key's scopes, as far as its owner has the permission."""
    key_expires_at: datetime | None = None


@router.post("/token", auth=None, response={200: TokenPair, **bodied()}, summary="Sign in")
def sign_in(request: HttpRequest, given: SignIn) -> Any:
    """Tokens for a name and a password, and a code where the account has an authenticator app.

    For a program that nobody sits at, make a key instead.
    """
    user = authenticate(request, username=given.username, password=given.password)
    if not isinstance(user, User):
        raise BadCredential(WRONG)
    door.require_code(request, user, given.code)
    with transaction.atomic():
        pair = tokens.issue(user)
        user_logged_in.send(User, request=request, user=user)
    return pair


@router.post("/refresh", auth=None, response={200: TokenPair, **bodied()}, summary="Next pair of tokens")
def refresh(request: HttpRequest, given: RefreshToken) -> Any:
    return tokens.refresh(given.refresh)


@router.post("/revoke", auth=None, response={204: None, **bodied()}, summary="Sign out")
def revoke(request: HttpRequest, given: RefreshToken) -> Any:
    """Ends this sign-in: its refresh and access tokens. 204 too for a token that had ended."""
    with transaction.atomic():
        user = tokens.revoke(given.refresh)
        if user is not None:
            user_logged_out.send(User, request=request, user=user)
    return Status(204, None)


@router.get("/me", auth=CallerAuth(), response={200: Me, **problems()}, summary="Who one is here")
def me(request: HttpRequest) -> Any:
    caller = caller_of(request)
    key = ApiKey.objects.get(pk=caller.key_id) if caller.key_id else None
    return {
        "username": caller.user.username,
        "name": str(caller.user),
        "how": caller.how,
        "scopes": [scope for scope in scopes_of(caller.user) if scope in caller.scopes],
        "key_expires_at": key.expires_at if key else None,
    }
