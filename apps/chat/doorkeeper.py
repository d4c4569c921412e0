"""Who may still read a thread over an open socket. Every socket asks every few seconds; all of them ask together."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakKeyDictionary

from accounts.models import User
from accounts.sessions import people_of
from runtime.database import in_database
from runtime.models import Thread

from apps.chat.access import USE_CHAT

SIGNED_OUT, NOT_FOUND = 4401, 4404  # codes to close a socket with
GATHER = 0.25  # seconds for which a question waits for others
ROLES = "django.contrib.auth.backends.ModelBackend"  # the backend that knows permissions


@dataclass(frozen=True)
class Reader:
    """Somebody with a page of a thread open."""

    session_key: str
    thread_id: UUID


def refusals(readers: Collection[Reader]) -> dict[Reader, int]:
    """For each, the code to close with, or 0: they may read it now. Four queries, however many they are."""
    people = people_of({reader.session_key for reader in readers})
    may_chat = set(
        # Who is active is known by now; Django takes None, its stubs don't.
        User.objects.with_perm(USE_CHAT, is_active=None, backend=ROLES)  # type: ignore[arg-type]
        .filter(pk__in={user.pk for user in people.values()})
        .values_list("pk", flat=True)
    )
    threads = Thread.objects.filter(pk__in={reader.thread_id for reader in readers}, deleted_at__isnull=True)
    owners = dict(threads.values_list("pk", "owner"))

    def refusal(reader: Reader) -> int:
        person = people.get(reader.session_key)
        if person is None:
            return SIGNED_OUT
        is_theirs = owners.get(reader.thread_id) == person.pk
        return 0 if is_theirs and person.pk in may_chat else NOT_FOUND

    return {reader: refusal(reader) for reader in readers}


@dataclass
class _Round:
    """Those who ask within GATHER of each other, and what they will be told."""

    verdicts: asyncio.Task[dict[Reader, int]]
    readers: set[Reader] = field(default_factory=set)


_rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Round] = WeakKeyDictionary()


async def refusal_of(reader: Reader) -> int:
    """As `refusals`, for one of many who ask at about the same time."""
    loop = asyncio.get_running_loop()
    if loop not in _rounds:
        _rounds[loop] = _Round(loop.create_task(_judge(loop)))
    round = _rounds[loop]
    round.readers.add(reader)
    return (await asyncio.shield(round.verdicts))[reader]


async def _judge(loop: asyncio.AbstractEventLoop) -> dict[Reader, int]:
    await asyncio.sleep(GATHER)
    return await in_database(refusals, _rounds.pop(loop).readers)
