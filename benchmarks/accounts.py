"""People for a benchmark, signed in, each with an empty thread: `python -m benchmarks.accounts 500`, printed as JSON.

Their sessions are written, not asked for: five hundred passwords would take minutes to check.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from accounts.models import User
    from runtime.models import Thread

ROOT = Path(__file__).resolve().parents[1]
BACKEND = "django.contrib.auth.backends.ModelBackend"


class Account(TypedDict):
    session: str
    """Value of the session's cookie."""
    key: str
    """Of theirs for the API, scope chat."""
    thread: str
    """Id of a thread of theirs that has no message."""


def make(graph_id: str, count: int) -> list[Account]:
    """New threads with the assistant of `graph_id` for as many people; people are made where they are missing."""
    from django.core.management import call_command
    from runtime.models import Assistant, Thread

    call_command("add_assistant", graph_id, stdout=StringIO())
    assistant = Assistant.objects.get(graph_id=graph_id)
    people = _people(count)
    threads = Thread.objects.bulk_create([Thread(owner=user, assistant=assistant) for user in people])
    return [_account(user, thread) for user, thread in zip(people, threads, strict=True)]


def _people(count: int) -> list[User]:
    from accounts import roles
    from accounts.models import User
    from django.contrib.auth.models import Group

    names = [f"bench-{number}" for number in range(count)]
    present = set(User.objects.filter(username__in=names).values_list("username", flat=True))
    made = User.objects.bulk_create(
        [User(username=name, password="!") for name in names if name not in present]  # "!": none fits
    )
    Group.objects.get(name=roles.CHAT_USERS).user_set.add(*made)
    return list(User.objects.filter(username__in=names))


def _account(user: User, thread: Thread) -> Account:
    from accounts import keys
    from accounts.scopes import Scope
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = BACKEND
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    key = keys.create_key(user, "bench", (Scope.CHAT,), timedelta(days=1))[1]
    return {"session": str(session.session_key), "key": key, "thread": str(thread.pk)}


def main() -> None:
    sys.path.insert(1, str(ROOT / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    graph_id, count = sys.argv[1:]
    print(json.dumps(make(graph_id, int(count))))


if __name__ == "__main__":
    main()
