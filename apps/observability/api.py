"""`/api/v1/audit`: the audit for programs, event by event and as the signed file that `export_audit` writes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from accounts.callers import CallerAuth, caller_of
from accounts.exceptions import Forbidden
from accounts.models import User
from accounts.problems import problems
from accounts.scopes import PERMISSIONS, Scope
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from runtime.audit import signing
from runtime.database import in_database
from runtime.models import AuditEvent

from apps.observability import downloads
from apps.observability.access import EXPORT_AUDIT
from apps.observability.downloads import DownloadResponse

router = Router(tags=["audit"], auth=CallerAuth(Scope.AUDIT))

MOST = 200  # events of one page
DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")
JSON_LINES = "application/x-ndjson"
FILE = {200: {"description": "JSON Lines", "content": {JSON_LINES: {"schema": {"type": "string"}}}}}

Seq = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""The number of an event in the chain."""


def _of_text(value: Any) -> Any:
    """Pydantic would take a bare number for the seconds since 1970."""
    if isinstance(value, str) and not DATE_AND_TIME.match(value):
        raise ValueError("a time is written like 2026-01-31T12:00:00Z")
    return value


def _in_utc(moment: datetime) -> datetime:
    """PostgreSQL takes no offset of 16 hours, which Python and RFC 3339 do."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("no such time in UTC") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_of_text), AfterValidator(_in_utc)]
"""With its time zone."""


class Wanted(Schema):
    """Which events, and in what order."""

    action: str = Field("", max_length=100)
    """Dotted, such as `tool_call.approved`."""
    actor: str = Field("", max_length=150)
    subject_kind: str = Field("", max_length=100)
    subject_id: str = Field("", max_length=200)
    thread_id: UUID | None = None
    since: Moment | None = None
    """Of the sealing, by the database's clock."""
    until: Moment | None = None
    """Up to before this moment."""
    text: str = Field("", max_length=200)
    """Anywhere in the event: a name, an id, an address, a field's value. The slowest of these."""
    order: Literal["newest", "oldest"] = "newest"
    after: Seq | None = None
    """In that order, what follows the event with this number: `next` of the page before."""
    limit: int = Field(100, ge=1, le=MOST)


class Subject(Schema):
    kind: str
    id: str


class Event(Schema):
    seq: int
    at: datetime
    action: str
    actor: str
    actor_id: str
    address: str
    request_id: str
    subject: Subject
    thread_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str
    previous: str
    """Hash of the event before."""
    hash: str


class Events(Schema):
    items: list[Event]
    next: int | None
    """For `after`; null: there is nothing more for now."""


class Part(Schema):
    """Which events of the chain; all of them unless it is said."""

    since: Seq = 1
    until: Seq | None = None


@router.get("", response={200: Events, **problems(422)}, summary="List events")
def index(request: HttpRequest, wanted: Query[Wanted]) -> Any:
    """By number, so that no page repeats or misses one, whatever is added meanwhile."""
    _auditor(request, PERMISSIONS[Scope.AUDIT])
    rows = _matching(wanted)
    is_newest = wanted.order == "newest"
    if wanted.after is not None:
        rows = rows.filter(**{"seq__lt" if is_newest else "seq__gt": wanted.after})
    found = list(rows.order_by("-seq" if is_newest else "seq")[: wanted.limit + 1])
    page = found[: wanted.limit]
    return {
        "items": [_shape(event) for event in page],
        "next": page[-1].seq if len(found) > len(page) else None,
    }


@router.get(
    "/export",
    response={200: None, **problems(422)},
    openapi_extra={"responses": FILE},
    summary="Export, signed",
)
def export(request: HttpRequest, part: Query[Part]) -> Any:
    """JSON Lines, an event each; the last line is the head, signed. An audit event tells of the export.

    To check it: `verify_export.py` with the key of `manage.py export_audit --public-key`.
    """
    download = downloads.begin(_auditor(request, EXPORT_AUDIT).pk)
    try:
        begun = signing.begin(part.since, part.until)
    except (signing.OutOfRange, ImproperlyConfigured) as error:
        downloads.end(download)
        return _not_begun(error)
    name = f"audit-{timezone.now():%Y%m%d-%H%M%S}.jsonl"
    return DownloadResponse(download, _lines(begun), name=name, content_type=JSON_LINES)


def _not_begun(error: Exception) -> Any:
    if isinstance(error, signing.OutOfRange):
        text = _("There are the events 1 to %(end)s. Give since and until within them.") % {"end": error}
        return Status(422, {"detail": text})
    return Status(503, {"detail": _("The key that signs exports can't be read. Tell an administrator.")})


async def _lines(export: signing.Export) -> AsyncIterator[str]:
    while page := await in_database(export.page):
        yield page
    yield export.head()


def _auditor(request: HttpRequest, permission: str) -> User:
    """Who calls, if the admin would show them the audit: staff with the permission, and nobody else."""
    user = caller_of(request).user
    if not (user.is_active and user.is_staff and user.has_perm(permission)):
        raise Forbidden()
    return user


def _matching(wanted: Wanted) -> QuerySet[AuditEvent]:
    rows = AuditEvent.objects.filter(seq__isnull=False)
    for name in ("action", "actor", "subject_kind", "subject_id"):
        if value := getattr(wanted, name):
            rows = rows.filter(**{name: value})
    if wanted.thread_id:
        rows = rows.filter(thread_id=str(wanted.thread_id))
    if wanted.since:
        rows = rows.filter(at__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(at__lt=wanted.until)
    return rows.filter(body__icontains=wanted.text) if wanted.text else rows


def _shape(event: AuditEvent) -> dict[str, Any]:
    links = {"seq": event.seq, "at": event.at, "previous": event.previous, "hash": event.hash}
    return {**event.told, **links}
