"""For whom a tool acts, and what they may: a tool has the worker's rights, and asks before it uses them."""

from __future__ import annotations

from typing import Any

from accounts.models import User

from runtime.context import current_call, current_run


def requester() -> User:
    """The person whose turn it is, as they are now. For tools and their previews; raises LookupError elsewhere.

    Also of a call that somebody else approved: who approves lends no rights.
    """
    call = current_call.get(None)
    user_id = call.user_id if call is not None else current_run.get().run.user_id
    return User.objects.get(pk=user_id)


def may(permission: str, thing: Any = None) -> bool:
    """Whether the requester has the permission, such as "shop.view_order", for `thing` where one is given.

    What it means for one thing, an authentication backend of its app says: Django's own says yes to superusers only.
    Asks the database: from a coroutine by `runtime.database.in_database`.
    """
    return requester().has_perm(permission, thing)
