"""The one door of the API: who calls, by a key, a token or the session of a page, and what for they may.

A view asks `caller_of(request)`, or stands behind `@caller_required(Scope.CHAT)`, or, with django-ninja, behind
`auth=CallerAuth(Scope.CHAT)`. What was found is kept with the request: it is looked up once, by one query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponseBase, JsonResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.translation import gettext_lazy as _

from accounts import keys, tokens
from accounts.exceptions import BadCredential, Forbidden, OutOfScope, Refusal, Unauthenticated
from accounts.models import User
from accounts.scopes import EVERY_SCOPE, PERMISSIONS, Scope
from accounts.sessions import user_of

How = Literal["session", "key", "token", "process"]

IN_THE_URL = _("A key or token in an address ends up in logs. Send it as a header, and revoke this one.")
NO_CSRF = _("The request did not come from a page of ours. Send the CSRF token as X-CSRFToken, or a key.")

_FOUND = "_caller"  # where a request keeps its caller, or why there is none
_NAMES_OF_SECRETS = {"access_token", "api_key", "api-key", "apikey", "x-api-key"}


@dataclass(frozen=True)
class Caller:
    """Somebody who calls, or a program of theirs."""

    user: User
    scopes: frozenset[Scope]
    how: How
    key_id: int | None = None

    def may(self, scope: Scope) -> bool:
        """A key gives its scopes, and never more than its owner has: the permission is the owner's, now."""
        return scope in self.scopes and self.user.has_perm(PERMISSIONS[scope])

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise OutOfScope()
        if not self.user.has_perm(PERMISSIONS[scope]):
            raise Forbidden()


def caller_of(request: HttpRequest, scope: Scope | None = None) -> Caller:
    """Who calls. Unauthenticated when it is nobody, Forbidden when they may not what `scope` stands for.

    `request.user` is the caller's from here on. A session's request that changes something needs the CSRF token.
    """
    found = getattr(request, _FOUND, None)
    if found is None:
        found = _look(request)
        setattr(request, _FOUND, found)
    if isinstance(found, Refusal):
        raise found
    if scope is not None:
        found.require(scope)
    return cast(Caller, found)


async def acaller_of(request: HttpRequest, scope: Scope | None = None) -> Caller:
    """The same from a coroutine; a stream that follows keeps no database connection for it."""
    return await sync_to_async(_and_let_go)(request, scope)


def _and_let_go(request: HttpRequest, scope: Scope | None) -> Caller:
    try:
        return caller_of(request, scope)
    finally:
        let_go_of_connections()


def let_go_of_connections() -> None:
    """Back to the pool with those of this thread that are in no transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def caller_required(scope: Scope | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Lets a view be called, with `request.user` set, by those who may what `scope` stands for; None: by anybody known.

    For functions and coroutines. The refusal is JSON, `{"detail": …}`.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(view):

            @wraps(view)
            async def in_loop(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                try:
                    await acaller_of(request, scope)
                except Refusal as refusal:
                    return refused(refusal)
                return cast(HttpResponseBase, await view(request, *args, **kwargs))

            return _without_csrf(in_loop)

        @wraps(view)
        def in_thread(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                caller_of(request, scope)
            except Refusal as refusal:
                return refused(refusal)
            return cast(HttpResponseBase, view(request, *args, **kwargs))

        return _without_csrf(in_thread)

    return decorate


def _without_csrf(view: Callable[..., Any]) -> Callable[..., Any]:
    """Django's middleware asks everybody for the token; the door only those who come with a session."""
    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


@dataclass(frozen=True)
class Credential:
    """What somebody came with on a connection that stays: who that is, is looked up as often as it matters."""

    secret: str = field(default="", repr=False)
    """A key or an access token; without one the session counts."""
    session_key: str = field(default="", repr=False)

    def caller(self) -> Caller:
        """Unauthenticated as soon as it is nobody's any more."""
        if self.secret:
            return caller_with(self.secret)
        user = user_of(self.session_key)
        if user is None:
            raise Unauthenticated()
        return Caller(user, EVERY_SCOPE, "session")


def credential_of(request: HttpRequest) -> Credential:
    """What the caller of the request came with, for what outlives the request."""
    if secret := secret_in(request.headers, request.META.get("QUERY_STRING", "")):
        return Credential(secret)
    return Credential(session_key=request.session.session_key or "")


class CallerAuth:
    """The same as django-ninja's `auth=`; the caller is `request.auth`. A Refusal is the API's to answer."""

    csrf = True  # tells the page with the documentation to send the token
    openapi_security_schema = {
        "type": "http",
        "scheme": "bearer",
        "description": "A key (also as x-api-key) or an access token. Pages of the same origin send their session.",
    }

    def __init__(self, scope: Scope | None = None) -> None:
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Caller:
        return caller_of(request, self.scope)


def refused(refusal: Refusal) -> JsonResponse:
    return JsonResponse({"detail": str(refusal)}, status=refusal.status, headers=refusal.headers)


# Finding out


def _look(request: HttpRequest) -> Caller | Refusal:
    try:
        caller = _by_header(request) or _by_session(request)
    except Refusal as refusal:
        return refusal
    request.user = caller.user
    return caller


def _by_header(request: HttpRequest) -> Caller | None:
    """None without a key or token. One that is bad is refused, whatever else came with it."""
    secret = secret_in(request.headers, request.META.get("QUERY_STRING", ""))
    return caller_with(secret) if secret else None


def secret_in(headers: Mapping[str, str], query: str) -> str:
    """The key or token that was sent; empty without one. BadCredential for one in the address."""
    if _has_secret_in_url(query):
        raise BadCredential(IN_THE_URL)
    # LangGraph's clients take x-api-key from LANGSMITH_API_KEY by themselves: what was meant is in Authorization.
    return _bearer(headers) or headers.get("x-api-key", "").strip()


def caller_with(secret: str) -> Caller:
    """Whose key or access token this is. BadCredential for anything else."""
    if not keys.looks_like_a_key(secret):
        return Caller(tokens.family_of(secret).owner, EVERY_SCOPE, "token")
    key = keys.key_of(secret)
    scopes = frozenset(scope for scope in Scope if scope.value in key.scopes)
    return Caller(key.owner, scopes, "key", key.pk)


def _bearer(headers: Mapping[str, str]) -> str:
    """Empty for another scheme: a proxy in front may have one of its own."""
    scheme, _, text = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return ""
    if not text.strip():
        raise BadCredential()
    return text.strip()


def _has_secret_in_url(query: str) -> bool:
    return bool(query) and (
        keys.holds_a_key(query) or not _NAMES_OF_SECRETS.isdisjoint(name.lower() for name in QueryDict(query))
    )


def _by_session(request: HttpRequest) -> Caller:
    user: Any = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        raise Unauthenticated()
    if _csrf.refusal_of(request):
        raise Forbidden(NO_CSRF)
    return Caller(user, EVERY_SCOPE, "session")


class _Csrf(CsrfViewMiddleware):
    """Django's own check, on behalf of a view that its middleware was told to leave alone."""

    def refusal_of(self, request: HttpRequest) -> bool:
        self.process_request(request)
        return self.process_view(request, _checked_view, (), {}) is not None

    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


def _checked_view(request: HttpRequest) -> HttpResponseBase:
    raise NotImplementedError  # only its lack of `csrf_exempt` is asked for


_csrf = _Csrf(_checked_view)
