"""Secrets in rows: encrypted under a key that is made of SECRET_KEY, so that a copy of the database has none."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.translation import gettext as _

# One for each use. A row that was sealed under one salt does not open under another.
WEBHOOKS = b"apps.approvals.notifications"
MASKED = b"runtime.masking"


class Unreadable(Exception):
    def __str__(self) -> str:
        return _("The secret was stored under another secret key. Enter it again.")


def sealed(text: str, salt: bytes = WEBHOOKS) -> str:
    return _box(salt).encrypt(text.encode()).decode()


def opened(token: str, salt: bytes = WEBHOOKS) -> str:
    """Raises Unreadable. Keys in SECRET_KEY_FALLBACKS still open what they sealed."""
    try:
        return _box(salt).decrypt(token).decode()
    except InvalidToken as error:
        raise Unreadable from error


def key(salt: bytes) -> bytes:
    """32 bytes of this use, of the present SECRET_KEY."""
    return _key(salt, str(settings.SECRET_KEY))


def _box(salt: bytes) -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(urlsafe_b64encode(_key(salt, str(each)))) for each in keys])


@lru_cache(maxsize=16)
def _key(salt: bytes, secret_key: str) -> bytes:
    return sha256(salt + secret_key.encode()).digest()
