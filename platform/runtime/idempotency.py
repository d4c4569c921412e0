"""A request that a program sends again is carried out once: it gets the run that came of it the first time.

The key's row is written in the transaction that writes the run, whichever door that is begun by, and a unique
constraint decides between two at the same instant: the second is undone, and told of the first's run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from accounts.models import User
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.translation import gettext as _

from runtime.exceptions import BadRequestKey
from runtime.models import RequestKey, Run

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
MAX_CHARS = 255


@dataclass(frozen=True)
class Named:
    """A request that has a name."""

    user: User
    key: str
    digest: str


class Started(NamedTuple):
    run: Run
    is_again: bool
    """The same request came before."""


_under_way: ContextVar[Named | None] = ContextVar("_under_way", default=None)


def named(request: HttpRequest, user: User) -> Named | None:
    """What the request calls itself; None where it does not. Raises BadRequestKey."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    where = f"{request.method} {request.path}"
    return named_as(user, key, where, json.loads(request.body or b"null"))


def named_as(user: User, key: str, where: str, said: Any) -> Named:
    """A request that calls itself `key`: `said`, at the door `where`. Raises BadRequestKey."""
    if not (0 < len(key) <= MAX_CHARS and key.isascii() and key.isprintable()):
        raise BadRequestKey(
            _("%(header)s: 1 to %(most)s printable ASCII characters.") % {"header": HEADER, "most": MAX_CHARS}
        )
    return Named(user, key, _digest(where, said))


def _digest(where: str, said: Any) -> str:
    """The same for the same JSON, however it is laid out."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return sha256(f"{where}\n{text}".encode()).hexdigest()


def once(request: Named | None, start: Callable[[], Run]) -> Started:
    """The run that `start` makes, or the one that came of the same request before. Raises what `start` raises.

    For code outside of a transaction: what `start` had begun has to be undone when another one was first.
    """
    if request is None:
        return Started(start(), False)
    if (known := _known(request)) is not None:
        return Started(known, True)
    token = _under_way.set(request)
    try:
        return Started(start(), False)
    except Exception:
        # Whatever it says: it may be that its twin, which came a moment before, is in the way.
        if (known := _known(request)) is not None:
            return Started(known, True)
        raise
    finally:
        _under_way.reset(token)


def keep(run: Run) -> None:
    """Called in the transaction that writes a run: the first that comes of a request bears its key."""
    request = _under_way.get()
    if request is None:
        return
    _under_way.set(None)
    expired().filter(user=request.user, key=request.key).delete()
    RequestKey.objects.create(user=request.user, key=request.key, digest=request.digest, run=run)


def _known(request: Named) -> Run | None:
    """Raises BadRequestKey when the key was another request's."""
    found = RequestKey.objects.filter(user=request.user, key=request.key, created_at__gte=Now() - KEPT)
    row = found.select_related("run").first()
    if row is None:
        return None
    if row.digest != request.digest:
        raise BadRequestKey(
            _("%(header)s: this key was sent with another request. Take a new one.") % {"header": HEADER}
        )
    return row.run


def expired() -> QuerySet[RequestKey]:
    return RequestKey.objects.filter(created_at__lt=Now() - KEPT)


def delete_expired(*, batch_size: int) -> Iterator[int]:
    """Deletes in batches and yields the size of each."""
    while pks := list(expired().values_list("pk", flat=True)[:batch_size]):
        yield RequestKey.objects.filter(pk__in=pks).delete()[0]
