"""Structured logs: one JSON object a line on stdout, with the ids of the request and the run it is about."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from runtime import masking

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
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(
            masking.masked(line), ensure_ascii=False, default=lambda value: masking.mask(str(value))
        )
