"""Secrets in rows: encrypted under a key that is made of SECRET_KEY, so that a copy of the database has none."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.translation import gettext as _

SALT = b"apps.approvals.notifications"


class Unreadable(Exception):
    def __str__(self) -> str:
        return _("The secret was stored under another secret key. Enter it again.")


def sealed(text: str) -> str:
    return _box().encrypt(text.encode()).decode()


def opened(token: str) -> str:
    """Raises Unreadable. Keys in SECRET_KEY_FALLBACKS still open what they sealed."""
    try:
        return _box().decrypt(token).decode()
    except InvalidToken as error:
        raise Unreadable from error


def _box() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = (sha256(SALT + str(key).encode()).digest() for key in keys)
    return MultiFernet([Fernet(urlsafe_b64encode(digest)) for digest in digests])
