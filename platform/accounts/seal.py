"""Secrets in rows: encrypted under keys that are made of SECRET_KEY, so that a copy of the database has none."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def box(salt: bytes) -> MultiFernet:
    """For one use of it, which `salt` names. Keys in SECRET_KEY_FALLBACKS still open what they sealed."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(urlsafe_b64encode(_key(salt, str(each)))) for each in keys])


def key(salt: bytes) -> bytes:
    """32 bytes of this use, of the present SECRET_KEY."""
    return _key(salt, str(settings.SECRET_KEY))


@lru_cache(maxsize=16)
def _key(salt: bytes, secret_key: str) -> bytes:
    return sha256(salt + secret_key.encode()).digest()
