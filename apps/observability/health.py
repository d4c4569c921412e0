"""Is it well? Each part is asked at the same time as the others and has its own bound.

A part is asked once at a time, however many callers wait: a dead server costs one thread, not one a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import cache
from threading import Lock
from typing import Any, Literal

from apps.observability import probes
from apps.observability.probes import ProbeFailed

logger = logging.getLogger(__name__)

Status = Literal["ok", "degraded", "failed"]
KEEP_BAD = 1.0  # seconds at most that bad news is kept, so that recovery shows at once


@dataclass(frozen=True)
class Finding:
    """What one part said of itself."""

    status: Status
    detail: str = ""
    """May name versions and hosts: for staff only."""
    milliseconds: int = 0


class Check:
    """One part: how it is asked, how long that may take, how long its answer is good for."""

    def __init__(self, name: str, probe: Callable[[], str], *, within: float, keep: float = 0.0) -> None:
        self.name = name
        self.within = within
        self._probe = probe
        self._keep = keep
        self._lock = Lock()
        self._future: Future[Finding] | None = None
        self._good_until = 0.0
        self._last_status: Status = "ok"

    def ask(self) -> Future[Finding]:
        """The answer that is still good, or the one under way, or a new one."""
        with self._lock:
            if self._future is None or (self._future.done() and time.monotonic() >= self._good_until):
                self._future = _threads().submit(self._find)
            return self._future

    def forget(self) -> None:
        with self._lock:
            self._future = None

    def _find(self) -> Finding:
        began = time.monotonic()
        try:
            finding = Finding("ok", self._probe())
        except ProbeFailed as error:
            finding = Finding("failed", str(error))
        except Exception as error:
            finding = Finding("failed", f"{type(error).__name__}: {error}".strip())
        ended = time.monotonic()
        self._good_until = ended + (self._keep if finding.status == "ok" else min(self._keep, KEEP_BAD))
        return self._noted(replace(finding, milliseconds=round((ended - began) * 1000)))

    def _noted(self, finding: Finding) -> Finding:
        """Logs changes only: a probe every second must not fill the log of an outage."""
        if finding.status != self._last_status:
            level = logging.INFO if finding.status == "ok" else logging.WARNING
            extra = {"action": "health_changed", "part": self.name, **asdict(finding)}
            logger.log(level, "health changed", extra=extra)
        self._last_status = finding.status
        return finding


DATABASE = Check("database", probes.database, within=2.0)
MIGRATIONS = Check("migrations", probes.migrations, within=2.0)
REDIS = Check("redis", probes.redis, within=1.5)
WORKERS = Check("workers", probes.workers, within=1.5)
NOTIFIER = Check("notifier", probes.notifier, within=1.5)
BATCHES = Check("batches", probes.batches, within=1.5)
MODEL = Check("model", probes.model, within=probes.MODEL_TIMEOUT + 0.5, keep=10.0)

ESSENTIAL = (DATABASE, MIGRATIONS)  # without these no page can be answered
ALL = (*ESSENTIAL, REDIS, WORKERS, NOTIFIER, BATCHES, MODEL)
READY_WAIT = 0.7  # seconds the parts that are not essential may hold up an answer to /health/ready


def findings(checks: Iterable[Check], *, at_most: float = 60.0) -> dict[str, Finding]:
    """What each part said, asked all at once; "failed" for one that did not answer within its bound."""
    began = time.monotonic()
    asked = [(check, check.ask()) for check in checks]
    return {check.name: _answer(future, began + min(check.within, at_most)) for check, future in asked}


def _answer(future: Future[Finding], deadline: float) -> Finding:
    left = max(0.0, deadline - time.monotonic())
    done, _ = wait([future], timeout=left)
    if done:
        return future.result()
    return Finding("failed", "no answer in time", milliseconds=round(left * 1000))


def report() -> dict[str, Finding]:
    return findings(ALL)


def readiness() -> dict[str, Finding]:
    """Only the essential parts can fail; the others are degraded at worst."""
    others = [check for check in ALL if check not in ESSENTIAL]
    for check in others:
        check.ask()
    essential = findings(ESSENTIAL)
    return essential | {
        name: replace(finding, status="degraded") if finding.status == "failed" else finding
        for name, finding in findings(others, at_most=READY_WAIT).items()
    }


def overall(parts: dict[str, Finding]) -> Status:
    """Failed when an essential part is; degraded when any other is not ok."""
    if any(parts[check.name].status == "failed" for check in ESSENTIAL if check.name in parts):
        return "failed"
    return "ok" if all(part.status == "ok" for part in parts.values()) else "degraded"


def as_json(parts: dict[str, Finding], *, with_details: bool) -> dict[str, Any]:
    hidden = set() if with_details else {"detail"}
    return {
        "status": overall(parts),
        "checks": {
            name: {key: value for key, value in asdict(part).items() if key not in hidden}
            for name, part in parts.items()
        },
    }


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 * len(ALL), thread_name_prefix="health")
