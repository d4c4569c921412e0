"""What is in the database and in Redis, as Prometheus series, read when somebody scrapes.

Never from the counters of one process: a scrape reaches one of many, and workers have no port.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

from django.db import Error as DatabaseError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector
from redis.exceptions import RedisError

from apps.observability import series

logger = logging.getLogger(__name__)

KEEP = 5.0  # seconds: a second scraper costs nothing
SOURCES: dict[str, tuple[Callable[[], Iterable[Metric]], type[Exception]]] = {
    "database": (series.from_database, DatabaseError),
    "redis": (series.from_redis, RedisError),
}


class AgentCollector(Collector):
    """Runs, tool calls, approvals, tokens, queues. A source that is away leaves its series out and says so."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._read: list[Metric] = []
        self._good_until = 0.0

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._read = _read_all()
                self._good_until = time.monotonic() + KEEP
        yield from self._read

    def forget(self) -> None:
        self._good_until = 0.0


def _read_all() -> list[Metric]:
    up = GaugeMetricFamily(
        "agent_source_up", "1 when the source of the series could be read.", labels=["source"]
    )
    found: list[Metric] = [up]
    for name, (read, away) in SOURCES.items():
        try:
            found += read()
            up.add_metric([name], 1)
        except away:
            extra = {"action": "metrics_source_away", "source": name}
            logger.warning("metrics source away", exc_info=True, extra=extra)
            up.add_metric([name], 0)
    return found


COLLECTOR = AgentCollector()
# Not in the library's own registry: that one collects as soon as it is told, before there is a database.
_registry = CollectorRegistry(auto_describe=False)
_registry.register(COLLECTOR)


def exposition() -> bytes:
    """This process's HTTP and database series by django-prometheus, then the agents'."""
    return generate_latest(REGISTRY) + generate_latest(_registry)
