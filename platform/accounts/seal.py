"""Secrets in rows: encrypted under keys that are made of SECRET_KEY, so that a copy of the database has none."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def box(salt: bytes) -> MultiFernet:
    """For one use of it, which `salt` names. Keys in SECRET_KEY_FALLBACKS still open what they sealed."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = (sha256(salt + str(key).encode()).digest() for key in keys)
    return MultiFernet([Fernet(urlsafe_b64encode(digest)) for digest in digests])
