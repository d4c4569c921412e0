"""Writing one audit event, in the transaction of what it tells. PostgreSQL seals it at the commit (migration 0005)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection
from django.db.models import Model
from django.http import HttpRequest

from runtime import masking

if TYPE_CHECKING:
    from accounts.models import User

VALUE_LIMIT = 4000  # characters of one text; of a longer one its beginning is kept, with its SHA-256
ID_LIMIT = 200  # characters; PostgreSQL has an index of them, which can't hold any length

Subject = Model | tuple[str, str]
"""A row, or (kind, id) of what is none or no longer."""


@dataclass(frozen=True)
class Origin:
    """Who acts, and through what. Text, so that it outlives the person's row."""

    actor: str
    actor_id: str = ""
    address: str = ""
    request_id: str = ""


_origin: ContextVar[Origin | HttpRequest | None] = ContextVar("audit_origin", default=None)


@contextmanager
def acting(origin: Origin | HttpRequest) -> Iterator[None]:
    """What is appended inside is theirs. Of a request the user is read late: signing in changes it."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def append(
    action: str,
    *,
    subject: Subject,
    actor: User | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    thread_id: UUID | None = None,
) -> None:
    """Adds an event to the caller's transaction: if it can't be written, what it tells is undone as well.

    `action` is dotted, thing first: "policy_rule.changed". `before` and `after` hold only what changed, and no
    personal data beyond names: nothing is ever taken out of the chain again. Without `actor` it is whoever acts.
    """
    origin = _current()
    actor_id, name = (str(actor.pk), actor.get_username()) if actor else (origin.actor_id, origin.actor)
    kind, subject_id = (kind_of(subject), str(subject.pk)) if isinstance(subject, Model) else subject
    body = {
        "action": action,
        "actor": name,
        "actor_id": actor_id,
        "address": origin.address,
        "request_id": origin.request_id,
        "subject": {"kind": kind, "id": subject_id[:ID_LIMIT]},
        "before": before,
        "after": after,
        "reason": reason,
        "thread_id": str(thread_id) if thread_id else "",
    }
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO runtime_auditevent (body) VALUES (%s)", [canonical(body)])


def kind_of(model: Model | type[Model]) -> str:
    """ "policy_rule" of a PolicyRule."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model._meta.object_name or "").lower()


def canonical(body: dict[str, Any]) -> str:
    """The one text of it, which is hashed and kept: sorted keys, no spaces, nothing that PostgreSQL can't hold."""
    return json.dumps(_plain(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case dict():
            return {_text(str(key)): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:  # floats too: there is more than one way to write them
            return _text(str(value))


def _text(text: str) -> str:
    text = (
        masking.mask(text)
        .replace("\x00", "\ufffd")
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
    )
    if len(text) <= VALUE_LIMIT:
        return text
    digest = sha256(text.encode()).hexdigest()
    return f"{text[:VALUE_LIMIT]}… [{len(text)} characters, SHA-256 {digest}]"


def _current() -> Origin:
    origin = _origin.get()
    if isinstance(origin, HttpRequest):
        return _origin_of(origin)
    return origin or Origin(_process())


def _origin_of(request: HttpRequest) -> Origin:
    user = getattr(request, "user", None)
    is_known = user is not None and user.is_authenticated
    return Origin(
        actor=user.get_username() if user is not None and is_known else "",
        actor_id=str(user.pk) if user is not None and is_known else "",
        # As far as it is trusted everywhere else, the guard against password guessing included: config.middleware.
        address=request.META.get("REMOTE_ADDR") or "",
        request_id=request.META.get("REQUEST_ID", ""),
    )


def _process() -> str:
    """Who acts outside of a request: the command of this process, such as "manage.py worker"."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    is_command = program == "manage.py" and len(sys.argv) > 1
    return f"{program} {sys.argv[1]}"[:150] if is_command else program[:150]
