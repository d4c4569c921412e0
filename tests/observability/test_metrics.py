from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from redis import Redis
from runtime import retention
from runtime.models import Run, Thread, ToolCall

from apps.observability import series
from apps.observability.metrics import COLLECTOR

pytestmark = pytest.mark.django_db

TOKEN = "scrape-me"


@pytest.fixture(autouse=True)
def _token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN


def scrape(client: Client) -> dict[str, float]:
    """series with labels -> value."""
    COLLECTOR.forget()
    response = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    lines = [line for line in response.content.decode().splitlines() if line.startswith("agent_")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", "Bearer käse"])
def test_a_stranger_is_refused(client: Client, header: str) -> None:
    response = client.get("/metrics", headers={"authorization": header} if header else {})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


def test_no_token_matches_when_none_is_configured(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 401


@pytest.mark.parametrize("who", ["carol", "bob", "dave"])
def test_people_without_the_permission_are_refused(
    request: pytest.FixtureRequest, signed_in: Callable[[User], Client], who: str
) -> None:
    assert signed_in(request.getfixturevalue(who)).get("/metrics").status_code == 403


def test_operators_may_read(signed_in: Callable[[User], Client], operator: User) -> None:
    assert b"agent_runs_active" in signed_in(operator).get("/metrics").content


def test_a_wrong_token_is_not_rescued_by_a_session(
    signed_in: Callable[[User], Client], operator: User
) -> None:
    response = signed_in(operator).get("/metrics", headers={"authorization": "Bearer wrong"})
    assert response.status_code == 401


def test_it_only_answers_reads(client: Client) -> None:
    assert client.post("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 405


def test_it_counts_runs_and_tokens(client: Client, make_run: Callable[..., Run], thread: Thread) -> None:
    make_run("success", input_tokens=10, output_tokens=3)
    make_run("error", input_tokens=1)
    make_run("pending")
    found = scrape(client)
    assert found['agent_runs_total{status="success"}'] == 1
    assert found['agent_runs_total{status="error"}'] == 1
    assert 'agent_runs_total{status="pending"}' not in found  # it would go down again
    assert found["agent_runs_active"] == 1
    assert found['agent_tokens_total{kind="input"}'] == 11
    assert found['agent_tokens_total{kind="output"}'] == 3


def test_it_counts_tool_calls_and_decisions(client: Client, make_call: Callable[..., ToolCall]) -> None:
    make_call("done", decision="approve")
    make_call("rejected", decision="reject")
    make_call("waiting")
    found = scrape(client)
    assert found['agent_tool_calls_total{state="done"}'] == 1
    assert found['agent_approval_decisions_total{decision="reject"}'] == 1
    assert found["agent_approvals_waiting"] == 1
    assert found["agent_approval_age_seconds"] > 1000


def test_it_times_the_runs_of_the_last_hour(client: Client, make_run: Callable[..., Run]) -> None:
    make_run()  # long ago
    now = timezone.now()
    make_run(started_at=now - timezone.timedelta(seconds=5), ended_at=now)
    assert scrape(client)['agent_run_seconds{quantile="0.5"}'] == pytest.approx(5)


def test_it_reads_redis(client: Client) -> None:
    found = scrape(client)
    assert found['agent_queue_jobs{queue="interactive"}'] == 0
    assert found["agent_workers"] == 0
    assert found["agent_redis_memory_bytes"] > 0
    assert found["agent_database_connections"] >= 1
    assert found["agent_active_sessions"] == 0


def test_counters_do_not_fall_when_rows_are_deleted(
    client: Client, make_call: Callable[..., ToolCall], thread: Thread
) -> None:
    make_call("done", decision="approve")
    before = scrape(client)
    Thread.objects.update(updated_at=timezone.now() - timezone.timedelta(days=500))
    assert sum(retention.delete_threads(365, batch_size=10)) == 1
    after = scrape(client)
    counters = [name for name in before if re.match(r"\w+_total", name)]
    assert counters
    assert {name: before[name] for name in counters} == {name: after[name] for name in counters}


def test_it_says_so_when_redis_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "redis_client", lambda: Redis(unix_socket_path="/nowhere.sock", retry=None))
    found = scrape(client)
    assert found['agent_source_up{source="redis"}'] == 0
    assert "agent_workers" not in found
    assert "agent_runs_active" in found


def test_it_says_so_when_the_database_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("no database")

    monkeypatch.setattr(series.counts, "all_time", away)
    found = scrape(client)
    assert found['agent_source_up{source="database"}'] == 0
    assert "agent_workers" in found


def test_a_second_scrape_within_seconds_asks_nobody(client: Client, django_assert_num_queries: Any) -> None:
    scrape(client)
    with django_assert_num_queries(0):
        client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})


def test_it_includes_the_http_series(client: Client) -> None:
    client.get("/health/live")
    response = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert b"django_http_requests_total_by_method_total" in response.content
