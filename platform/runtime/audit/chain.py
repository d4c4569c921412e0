"""Whether the chain in the database holds, and the anchor outside of it, without which a cut tail is not seen."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from runtime.audit.models import AuditEvent
from runtime.audit.verify_export import Broken, Link, check_links
from runtime.database import PAGE, in_pages

logger = logging.getLogger(__name__)

ANCHOR_EVERY = 60.0  # seconds
TAIL = 1024  # bytes, more than a line
LINK = ("seq", "at", "previous", "hash", "body")


@dataclass(frozen=True)
class Head:
    """Where the chain ends."""

    seq: int
    hash: str


def head() -> Head:
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq, hash FROM runtime_audithead")
        row = cursor.fetchone()
    if row is None:
        raise Broken(0, "missing", "the row that holds the chain's head is gone.")
    return Head(*row)


def links() -> Iterator[Link]:
    """The sealed events by number, in bounded memory."""
    return map(_link, in_pages(AuditEvent.objects.filter(seq__gt=0).only(*LINK), "seq"))


def page(*, after: int, until: int) -> Iterator[Link]:
    """The first of the sealed events numbered `after` + 1 to `until`."""
    rows = AuditEvent.objects.filter(seq__gt=after, seq__lte=until).only(*LINK)
    return map(_link, rows.order_by("seq")[:PAGE])


def _link(event: AuditEvent) -> Link:
    return Link(event.seq or 0, time_text(event.at), event.previous, event.hash, event.body)


def time_text(at: datetime | None) -> str:
    """As PostgreSQL wrote it into the hash."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else ""


def check() -> Head:
    """The head of a chain in which every link holds, up to the head and through every anchor. Raises Broken.

    To be called in a transaction that sees one moment.
    """
    end, anchors = head(), read_anchors()
    last = Head(0, "")
    for link in check_links(links()):
        last = Head(link.seq, link.hash)
        if anchors.pop(link.seq, link.hash) != link.hash:
            raise Broken(
                link.seq, "changed", "it has another hash than the anchor outside the database says."
            )
    beyond = max([end.seq, *anchors])
    if beyond > last.seq:
        raise Broken(last.seq + 1, "cut", f"there were {beyond} events.")
    if end != last:
        raise Broken(last.seq, "changed", "the head says another number or hash.")
    return end


# The anchor


def anchor_path() -> Path:
    return Path(settings.AUDIT_ANCHOR)


def read_anchors() -> dict[int, str]:
    """Hash by number. A line cut off by a full disk or a power loss says nothing."""
    anchors: dict[int, str] = {}
    with suppress(FileNotFoundError), anchor_path().open(encoding="utf-8") as lines:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                anchors[int(entry["seq"])] = str(entry["hash"])
    return anchors


def drop_anchor() -> Head | None:
    """Appends the head to the anchor file and the log, at most once a minute; None when nothing was due."""
    path = anchor_path()
    age = _age(path)
    if age is not None and age < ANCHOR_EVERY:
        return None
    end = head()
    if end.seq == 0 or _last_anchor(path) == end:
        return None
    entry: dict[str, Any] = {"seq": end.seq, "hash": end.hash, "at": time_text(datetime.now(UTC))}
    logger.info("audit anchored", extra={"action": "audit_anchored", "seq": end.seq, "hash": end.hash})
    path.parent.mkdir(parents=True, exist_ok=True)
    # One write of an append-only descriptor: two workers at once write two lines.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{json.dumps(entry)}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return end


def _last_anchor(path: Path) -> Head | None:
    """Of the end of the file only: it may hold a year of minutes."""
    with suppress(OSError, ValueError, KeyError, TypeError, IndexError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        entry = json.loads(file.read().splitlines()[-1])
        return Head(int(entry["seq"]), str(entry["hash"]))
    return None


def _age(path: Path) -> float | None:
    """Seconds since the last anchor; None when there is none. The file's clock and ours are one machine's."""
    try:
        return abs(time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None
