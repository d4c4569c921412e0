"""Sent inside the transaction that changes a row: a receiver that raises undoes it."""

from __future__ import annotations

from django.dispatch import Signal

key_created = Signal()  # key
key_rotated = Signal()  # key: the old one; successor
key_revoked = Signal()  # key
token_reused = Signal()  # family: a refresh token came a second time, all that came of it was revoked
factor_changed = Signal()  # user; change: one of factors.Change
identity_linked = Signal()  # identity: from now on somebody signs in by it
sign_in_refused = Signal()  # name, why: the provider knows them, we let them not in
