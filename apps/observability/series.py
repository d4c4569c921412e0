"""The series themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Count, ExpressionWrapper, FloatField, Min
from django.db.models.functions import Extract, Now
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from rq import Queue
from runtime.models import ACTIVE, Run, ToolCall, ToolState
from runtime.redis_client import redis_client

from apps.observability import counts
from apps.observability.probes import HEARTBEAT_MAX_AGE, worker_ages

WINDOW = 3600  # seconds: run times are of runs that ended in it
QUANTILES = (0.5, 0.9, 0.95, 0.99)

# Name, help and label of each counter; its values come from counts.py.
COUNTERS = (
    ("agent_runs", "Runs that ended, by how. A run that waits for a decision has ended.", "status"),
    ("agent_tool_calls", "Tool calls that were settled, by how.", "state"),
    ("agent_approval_decisions", "Decisions on tool calls.", "decision"),
    ("agent_tokens", "Tokens that the model endpoint counted.", "kind"),
)


def from_database() -> Iterator[Metric]:
    values = counts.all_time()
    for name, what, label in COUNTERS:
        yield _counter(name, what, label, values[name])
    active = Run.objects.filter(status__in=ACTIVE).count()
    yield _gauge("agent_runs_active", "Runs that are queued or running.", active)
    yield _run_seconds()
    yield from _approvals()
    sessions = Session.objects.filter(expire_date__gt=Now()).count()
    yield _gauge("agent_active_sessions", "Web sessions that have not expired.", sessions)
    yield _gauge(
        "agent_database_connections", "Connections to the database, of all processes.", _connections()
    )


def from_redis() -> Iterator[Metric]:
    jobs = GaugeMetricFamily("agent_queue_jobs", "Jobs that wait in the queue.", labels=["queue"])
    fresh = 0
    for name in settings.RQ_QUEUES:
        jobs.add_metric([name], Queue(name, connection=redis_client()).count)
        fresh += sum(age <= HEARTBEAT_MAX_AGE for age in worker_ages(name))
    yield jobs
    yield _gauge("agent_workers", "Worker processes with a fresh heartbeat.", fresh)
    memory = redis_client().info("memory")["used_memory"]
    yield _gauge("agent_redis_memory_bytes", "Memory that Redis uses.", memory)


def _run_seconds() -> Metric:
    """Quantiles of a window, so a gauge: what leaves the window would make a histogram's counters go down."""
    what = "Time from start to end of runs that ended in the last hour."
    metric = GaugeMetricFamily("agent_run_seconds", what, labels=["quantile"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT percentile_cont(%s::float8[]) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at))"
            " FROM runtime_run WHERE ended_at > now() - make_interval(secs => %s) AND started_at IS NOT NULL",
            [list(QUANTILES), WINDOW],
        )
        (values,) = cursor.fetchone()
    for quantile, value in zip(QUANTILES, values or [], strict=False):
        metric.add_metric([str(quantile)], value)
    return metric


def _approvals() -> Iterator[Metric]:
    age = ExpressionWrapper(Extract(Now() - Min("created_at"), "epoch"), output_field=FloatField())
    waiting = ToolCall.objects.filter(state=ToolState.WAITING).aggregate(count=Count("pk"), age=age)
    yield _gauge("agent_approvals_waiting", "Tool calls that wait for a decision.", waiting["count"])
    oldest = waiting["age"] or 0
    yield _gauge("agent_approval_age_seconds", "Age of the oldest of them; 0 when none waits.", oldest)


def _connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _counter(name: str, what: str, label: str, values: Mapping[str, int]) -> Metric:
    metric = CounterMetricFamily(name, what, labels=[label])
    for key, value in sorted(values.items()):
        metric.add_metric([key], value)
    return metric
