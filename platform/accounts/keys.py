"""API keys: `cs_<prefix>_<secret>`. The prefix finds the row, which has only the secret's SHA-256.

A slow hash would guard a secret that people chose; this one is 238 random bits, which nobody tries out.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Collection
from datetime import timedelta
from hashlib import sha256
from hmac import compare_digest

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import signals
from accounts.exceptions import BadCredential, KeyEnded, TooManyKeys
from accounts.models import ApiKey, User
from accounts.scopes import Scope

ApiKeys = QuerySet[ApiKey]

MARK = "cs_"  # what secret scanners, and people, know a key by
PREFIX_CHARS, SECRET_CHARS = 12, 40
KEY_LIMIT = 50  # keys of one person that work
USE_NOTED_EVERY = timedelta(minutes=1)

_SECRET_ALPHABET = string.ascii_letters + string.digits
_FORM = re.compile(rf"cs_([0-9a-f]{{{PREFIX_CHARS}}})_([A-Za-z0-9]{{{SECRET_CHARS}}})")
_NO_DIGEST = "0" * 64


def create_key(
    owner: User, name: str, scopes: Collection[Scope], lifetime: timedelta | None
) -> tuple[ApiKey, str]:
    """The new row, and the key itself, which nobody can ever read again. TooManyKeys past KEY_LIMIT."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=owner.pk)  # or two at once would pass the limit
        if working(owner).count() >= KEY_LIMIT:
            raise TooManyKeys()
        key, text = _add(owner, name, scopes, lifetime)
        signals.key_created.send(ApiKey, key=key)
    return key, text


def rotate_key(key: ApiKey, grace: timedelta = timedelta(0)) -> tuple[ApiKey, str]:
    """A successor with the same name, scopes and lifetime; the old key works on for `grace`, not past its own end.

    KeyEnded for one that does not work any more, or has a successor.
    """
    now = timezone.now()
    end = min(now + grace, key.expires_at) if key.expires_at else now + grace
    with transaction.atomic():
        unreplaced = _still_works().filter(pk=key.pk, replaced_at__isnull=True)
        if not unreplaced.update(replaced_at=now, expires_at=end, revoked_at=None if grace else now):
            raise KeyEnded()
        successor, text = _add(key.owner, key.name, [Scope(each) for each in key.scopes], key.lifetime)
        signals.key_rotated.send(ApiKey, key=key, successor=successor)
    return successor, text


def revoke_key(key: ApiKey) -> None:
    """From the next request on it is nobody's. KeyEnded when it was so before."""
    with transaction.atomic():
        if not _still_works().filter(pk=key.pk).update(revoked_at=timezone.now()):
            raise KeyEnded()
        signals.key_revoked.send(ApiKey, key=key)


def key_of(text: str) -> ApiKey:
    """The working key this is, with its owner, who is active. BadCredential for anything else. One query."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadCredential()
    prefix, secret = match.groups()
    key = ApiKey.objects.select_related("owner").filter(prefix=prefix).first()
    is_right = compare_digest(_digest(secret), key.digest if key else _NO_DIGEST)
    if key is None or not is_right or key.has_ended or not key.owner.is_active:
        raise BadCredential()
    _note_use(key)
    return key


def looks_like_a_key(text: str) -> bool:
    return text.startswith(MARK)


def holds_a_key(text: str) -> bool:
    return _FORM.search(text) is not None


def working(owner: User) -> ApiKeys:
    return _still_works().filter(owner=owner)


def _still_works() -> ApiKeys:
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    return ApiKey.objects.filter(unexpired, revoked_at__isnull=True)


def _add(owner: User, name: str, scopes: Collection[Scope], lifetime: timedelta | None) -> tuple[ApiKey, str]:
    prefix = secrets.token_hex(PREFIX_CHARS // 2)
    secret = "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(SECRET_CHARS))
    now = timezone.now()
    key = ApiKey.objects.create(
        owner=owner,
        name=name,
        prefix=prefix,
        digest=_digest(secret),
        scopes=[scope.value for scope in Scope if scope in scopes],
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
    )
    return key, f"{MARK}{prefix}_{secret}"


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _note_use(key: ApiKey) -> None:
    """At most once a minute: a busy key would otherwise write a row with every request."""
    now = timezone.now()
    before = now - USE_NOTED_EVERY
    if key.last_used_at is None or key.last_used_at < before:
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=before)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
