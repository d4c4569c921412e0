"""Tells people and other systems about approval requests: an outbox in the database, emptied by its own worker."""

from __future__ import annotations

from apps.approvals.notifications.outbox import announce

__all__ = ["announce"]
