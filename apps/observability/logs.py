"""Structured logs: one JSON object a line on stdout, with the ids of the request and the run it is about."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from runtime import masking
from runtime.secret_kinds import open_from

LONGEST = 4_000  # characters of each text of a line: anybody can make it long, by a path that is not there
LONGEST_EXCEPTION = 32_000

# What every line written in this context carries, such as request_id or user_id.
log_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JSONFormatter(logging.Formatter):
    """time, level, logger, message, the context's ids, then whatever was given as `extra`; no secrets."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(log_context.get() or {}),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        line = _cut(line)
        if record.exc_info:
            line["exception"] = _cut(self.formatException(record.exc_info), LONGEST_EXCEPTION)
        return json.dumps(
            masking.masked(line), ensure_ascii=False, default=lambda value: masking.mask(_cut(str(value)))
        )


def _cut(value: Any, longest: int | None = None) -> Any:
    """Without what is too long of its texts. They say so, and end before a secret that the cut would halve."""
    if isinstance(value, dict):
        return {key: _cut(each, longest) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(each, longest) for each in value]
    if not isinstance(value, str) or len(value) <= (longest or LONGEST):
        return value
    head = value[: longest or LONGEST]
    head = head[: open_from(head)]
    return f"{head}… [{len(value) - len(head)} characters left out]"
