"""Tokens for programs that sign in with a name and a password: a short access token, and one to get the next with.

Both are JWTs that name their family; the family's row is read with every request, so that a token is worth nothing
from the moment its family is revoked, its owner is switched off or has another password. A refresh token works once:
a second use means that two have it, and all that came of the sign-in is revoked.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy as _

from accounts import signals
from accounts.exceptions import BadCredential
from accounts.models import TokenFamily, User

ALGORITHM = "HS256"  # the only one that is read, whatever a token says of itself
ISSUER = "countersign"
ACCESS, REFRESH = "countersign:access", "countersign:refresh"  # audiences: one never passes for the other
FAMILY_LIMIT = 50  # sign-ins of one person that are remembered; older ones end

EXPIRED = _("This token has expired. Refresh it, or sign in again.")


@dataclass(frozen=True)
class Tokens:
    access: str
    refresh: str
    expires_in: int
    """Seconds for which `access` works."""


def issue(user: User) -> Tokens:
    """For somebody whose password was just checked."""
    now = timezone.now()
    token_id = _new_id()
    with transaction.atomic():
        family = TokenFamily.objects.create(
            owner=user,
            begun_with=user.get_session_auth_hash(),
            current=_digest(token_id),
            expires_at=now + timedelta(days=settings.REFRESH_TOKEN_DAYS),
        )
        _forget_old(user, now)
    return _pair(family, token_id)


def refresh(text: str) -> Tokens:
    """The next pair; `text` never works again. BadCredential, and an end to the family, when it came before."""
    claims = _claims(text, REFRESH)
    family = _living(claims)
    token_id = _new_id()
    unused = TokenFamily.objects.filter(pk=family.pk, current=_digest(claims["jti"]), revoked_at__isnull=True)
    if not unused.update(current=_digest(token_id)):
        _end_reused(family)
        raise BadCredential()
    return _pair(family, token_id)


def revoke(text: str) -> User | None:
    """Ends all that came of the sign-in, whichever of its refresh tokens this is. None: it was ended before."""
    try:
        family = _living(_claims(text, REFRESH))
    except BadCredential:
        return None
    return family.owner if _end(family) else None


def family_of(text: str) -> TokenFamily:
    """Whose access token this is, with its owner. BadCredential for anything else. One query."""
    return _living(_claims(text, ACCESS))


def _living(claims: dict[str, Any]) -> TokenFamily:
    try:
        family = TokenFamily.objects.select_related("owner").get(pk=UUID(str(claims["fam"])))
    except (TokenFamily.DoesNotExist, ValueError) as error:
        raise BadCredential() from error
    is_open = family.revoked_at is None and family.expires_at > timezone.now()
    if not (is_open and family.owner.is_active and _holds_the_password(family)):
        raise BadCredential()
    return family


def _holds_the_password(family: TokenFamily) -> bool:
    owner = family.owner
    hashes = [owner.get_session_auth_hash(), *owner.get_session_auth_fallback_hash()]
    return any(constant_time_compare(family.begun_with, each) for each in hashes)


def _end(family: TokenFamily) -> bool:
    """True for the one who ended it."""
    unended = TokenFamily.objects.filter(pk=family.pk, revoked_at__isnull=True)
    return unended.update(revoked_at=timezone.now()) == 1


def _end_reused(family: TokenFamily) -> None:
    with transaction.atomic():
        if _end(family):
            signals.token_reused.send(TokenFamily, family=family)


def _forget_old(user: User, now: datetime) -> None:
    families = TokenFamily.objects.filter(owner=user)
    families.filter(expires_at__lte=now).delete()
    newest = list(families.order_by("-created_at").values_list("pk", flat=True)[:FAMILY_LIMIT])
    families.exclude(pk__in=newest).delete()


def _pair(family: TokenFamily, refresh_id: str) -> Tokens:
    now = timezone.now()
    lives = timedelta(seconds=settings.ACCESS_TOKEN_SECONDS)
    return Tokens(
        access=_signed(family, ACCESS, _new_id(), now, min(now + lives, family.expires_at)),
        refresh=_signed(family, REFRESH, refresh_id, now, family.expires_at),
        expires_in=int(lives.total_seconds()),
    )


def _signed(family: TokenFamily, audience: str, token_id: str, now: datetime, end: datetime) -> str:
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "sub": str(family.owner_id),
        "fam": str(family.pk),
        "jti": token_id,
        "iat": now,
        "exp": end,
    }
    return jwt.encode(claims, _key(), algorithm=ALGORITHM)


def _claims(text: str, audience: str) -> dict[str, Any]:
    required = ["iss", "aud", "sub", "fam", "jti", "iat", "exp"]
    try:
        return jwt.decode(
            text,
            _key(),
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=ISSUER,
            options={"require": required},
        )
    except jwt.ExpiredSignatureError as error:
        raise BadCredential(EXPIRED) from error
    except (jwt.InvalidTokenError, ValueError) as error:  # ValueError: what is not even text of a token
        raise BadCredential() from error


def _key() -> bytes:
    """Of SECRET_KEY, and of no other use of it."""
    return salted_hmac("accounts.tokens", "", algorithm="sha256").digest()


def _new_id() -> str:
    return secrets.token_urlsafe(16)


def _digest(token_id: str) -> str:
    return sha256(token_id.encode()).hexdigest()
