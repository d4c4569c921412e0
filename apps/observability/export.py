"""The audit of tool calls as a file: a row each, oldest first, in bounded memory however many there are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from runtime.database import in_database
from runtime.models import ToolCall

from apps.observability.downloads import Download, DownloadResponse

CHUNK = 100  # rows in memory at once, at most
FEW = 10  # to begin with: a result may have 256 kB
TEXT = 512 * 1024  # characters at once, about
FORMULA_STARTS = ("=", "+", "-", "@")  # what a spreadsheet would run
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


# Name of a column, and what it holds of a call: everything from proposal to result, as JSON values.
COLUMNS: dict[str, Callable[[ToolCall], Any]] = {
    "id": lambda call: str(call.pk),
    "proposed_at": lambda call: _time(call.created_at),
    "requester": lambda call: call.user.get_username(),
    "assistant": lambda call: call.assistant.graph_id,
    "thread": lambda call: str(call.thread_id),
    "run": lambda call: str(call.run_id),
    "tool": attrgetter("tool"),
    "sensitive": attrgetter("sensitive"),
    "effect": attrgetter("effect"),
    "state": attrgetter("state"),
    "policy": attrgetter("policy"),
    "why": attrgetter("why"),
    "proposed_args": attrgetter("proposed_args"),
    "args": attrgetter("args"),
    "args_digest": attrgetter("args_digest"),
    "decision": attrgetter("decision"),
    "decided_by": lambda call: call.decided_by.get_username() if call.decided_by else "",
    "decided_at": lambda call: _time(call.decided_at),
    "reason": attrgetter("reason"),
    "started_at": lambda call: _time(call.started_at),
    "finished_at": lambda call: _time(call.finished_at),
    "seconds": lambda call: call.duration.total_seconds() if call.duration is not None else None,
    "result": attrgetter("result"),
    "error": attrgetter("error"),
}


def record(call: ToolCall) -> dict[str, Any]:
    return {name: read(call) for name, read in COLUMNS.items()}


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def as_json_lines(calls: Iterable[ToolCall]) -> str:
    return "".join(f"{json.dumps(record(call), ensure_ascii=False)}\n" for call in calls)


def as_csv(calls: Iterable[ToolCall]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    for call in calls:
        writer.writerow(_cell(value) for value in record(call).values())
    return text.getvalue()


def _cell(value: Any) -> str:
    """As text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.lstrip().startswith(FORMULA_STARTS) else text


def response(download: Download, calls: QuerySet[ToolCall], kind: str) -> DownloadResponse:
    """A download of these rows. `kind`: csv or jsonl."""
    name = f"tool-calls-{timezone.now():%Y%m%d-%H%M%S}.{kind}"
    return DownloadResponse(download, _body(calls, kind), name=name, content_type=CONTENT_TYPES[kind])


async def _body(calls: QuerySet[ToolCall], kind: str) -> AsyncIterator[str]:
    write: Callable[[Iterable[ToolCall]], str] = as_csv if kind == "csv" else as_json_lines
    if kind == "csv":
        yield ",".join(COLUMNS) + "\r\n"
    rows = FEW
    chunk = await in_database(_after, calls, None, rows)
    while chunk:
        text, last = write(chunk), chunk[-1]
        rows = max(1, min(CHUNK, rows * TEXT // len(text)))
        del chunk  # while a slow client reads, this is all there is of it
        yield text
        del text
        chunk = await in_database(_after, calls, last, rows)


def _after(calls: QuerySet[ToolCall], last: ToolCall | None, count: int) -> list[ToolCall]:
    """The next rows by time and id: no cursor is held open while a slow client reads."""
    rows = calls.select_related("user", "assistant", "decided_by").order_by("created_at", "pk")
    if last is not None:
        same_instant = Q(created_at=last.created_at, pk__gt=last.pk)
        rows = rows.filter(Q(created_at__gt=last.created_at) | same_instant)
    return list(rows[:count])
