"""Secrets in rows: encrypted under a key that is made of SECRET_KEY, so that a copy of the database has none."""

from __future__ import annotations

from accounts.seal import box
from cryptography.fernet import InvalidToken
from django.utils.translation import gettext as _

# One for each use. A row that was sealed under one salt does not open under another.
WEBHOOKS = b"apps.approvals.notifications"
MASKED = b"runtime.masking"
RUN_WEBHOOKS = b"runtime.run_webhooks"


class Unreadable(Exception):
    def __str__(self) -> str:
        return _("The secret was stored under another secret key. Enter it again.")


def sealed(text: str, salt: bytes = WEBHOOKS) -> str:
    return box(salt).encrypt(text.encode()).decode()


def opened(token: str, salt: bytes = WEBHOOKS) -> str:
    """Raises Unreadable. Keys in SECRET_KEY_FALLBACKS still open what they sealed."""
    try:
        return box(salt).decrypt(token).decode()
    except InvalidToken as error:
        raise Unreadable from error
