from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from accounts.models import User
from django.test import Client
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq import Worker
from rq.utils import now, utcformat
from runtime import jobs, runs
from runtime import redis_client as redis_module
from runtime.redis_client import redis_client

from apps.observability import health, probes

pytestmark = pytest.mark.django_db(transaction=True)


class Endpoint:
    """A model endpoint that answers GET /v1/models with one status, after a delay, and remembers what it got."""

    def __init__(self) -> None:
        self.status, self.delay, self.asked = 200, 0.0, 0
        self.key = ""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30  # seconds of silence

            def do_GET(self) -> None:
                endpoint.asked += 1
                endpoint.key = self.headers.get("Authorization", "")
                time.sleep(endpoint.delay)
                self.send_response(endpoint.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def endpoint(settings: Any) -> Iterator[Endpoint]:
    served = Endpoint()
    settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = served.url, "sk-secret"
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def register_worker() -> Callable[..., None]:
    def register(name: str = "w1", age: timedelta = timedelta(), queue: str = "interactive") -> None:
        worker = Worker([queue], name=name, connection=redis_client())
        worker.register_birth()
        redis_client().hset(worker.key, "last_heartbeat", utcformat(now() - age))

    return register


@pytest.fixture
def all_well(endpoint: Endpoint, register_worker: Callable[..., None]) -> Endpoint:
    register_worker()
    return endpoint


@pytest.fixture
def redis_down(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Redis(unix_socket_path="/nowhere.sock", retry=None)
    monkeypatch.setattr(probes, "redis_client", lambda: nowhere)


def get(client: Client, path: str = "/health") -> SimpleNamespace:
    response = client.get(path)
    body = json.loads(response.content)
    states = {name: part["status"] for name, part in body.get("checks", {}).items()}
    return SimpleNamespace(code=response.status_code, status=body["status"], body=body, states=states)


def test_it_is_ok_when_everything_answers(client: Client, all_well: Endpoint) -> None:
    answer = get(client)
    assert (answer.code, answer.status) == (200, "ok")
    assert set(answer.states) == {
        "database",
        "migrations",
        "redis",
        "workers",
        "notifier",
        "batches",
        "model",
    }
    assert all_well.key == "Bearer sk-secret"


def test_it_asks_the_model_endpoint_once_in_ten_seconds(client: Client, all_well: Endpoint) -> None:
    get(client)
    get(client)
    assert all_well.asked == 1


@pytest.mark.usefixtures("all_well")
def test_it_costs_little_when_green(client: Client) -> None:
    get(client)
    began = time.monotonic()
    get(client)
    assert time.monotonic() - began < 0.1


@pytest.mark.usefixtures("all_well")
def test_it_tells_strangers_states_and_no_more(client: Client) -> None:
    text = client.get("/health").content.decode()
    assert "127.0.0.1" not in text
    assert "PostgreSQL" not in text
    assert "detail" not in text


@pytest.mark.usefixtures("all_well")
def test_it_tells_chat_users_no_more_than_strangers(signed_in: Callable[[User], Client], carol: User) -> None:
    assert "detail" not in signed_in(carol).get("/health").content.decode()


def test_it_tells_staff_the_details(
    signed_in: Callable[[User], Client], operator: User, all_well: Endpoint
) -> None:
    checks = get(signed_in(operator)).body["checks"]
    assert checks["database"]["detail"].startswith("PostgreSQL ")
    assert checks["workers"]["detail"].startswith("1 running")
    assert checks["model"]["detail"] == all_well.url
    assert "sk-secret" not in json.dumps(checks)


@pytest.mark.usefixtures("endpoint")
def test_it_is_degraded_without_workers(client: Client) -> None:
    answer = get(client)
    assert (answer.code, answer.status, answer.states["workers"]) == (503, "degraded", "failed")


@pytest.mark.usefixtures("endpoint")
def test_it_does_not_count_a_worker_without_a_fresh_heartbeat(
    client: Client, register_worker: Callable[..., None]
) -> None:
    register_worker(age=timedelta(seconds=61))
    assert get(client).states["workers"] == "failed"


@pytest.mark.usefixtures("all_well")
def test_it_tells_that_nobody_sends_what_waits_to_be_sent(
    client: Client, operator: User, signed_in: Callable[[User], Client], register_worker: Callable[..., None]
) -> None:
    assert get(client).states["notifier"] == "ok"  # nothing waits
    jobs.enqueue("apps.approvals.notifications.delivery.perform", ["one", "two"])

    answer = get(signed_in(operator))

    assert (answer.code, answer.status, answer.states["notifier"]) == (503, "degraded", "failed")
    assert "2 notifications wait" in answer.body["checks"]["notifier"]["detail"]
    assert "manage.py worker --queue maintenance" in answer.body["checks"]["notifier"]["detail"]
    register_worker("old", age=timedelta(seconds=61), queue="maintenance")
    assert get(client).states["notifier"] == "failed"
    register_worker("notifier", queue="maintenance")
    assert get(client).states["notifier"] == "ok"


@pytest.mark.usefixtures("all_well")
def test_it_tells_that_nobody_performs_the_batches_that_wait(
    client: Client, operator: User, signed_in: Callable[[User], Client], register_worker: Callable[..., None]
) -> None:
    assert get(client).states["batches"] == "ok"  # nothing waits
    runs.enqueue([(uuid4(), runs.BATCH)])

    answer = get(signed_in(operator))

    assert (answer.code, answer.status, answer.states["batches"]) == (503, "degraded", "failed")
    assert "1 items of batches wait" in answer.body["checks"]["batches"]["detail"]
    assert "manage.py worker --queue batch" in answer.body["checks"]["batches"]["detail"]
    register_worker("batch-worker", queue="batch")
    assert get(client).states["batches"] == "ok"


@pytest.mark.usefixtures("endpoint", "redis_down")
def test_it_is_degraded_without_redis(client: Client) -> None:
    answer = get(client)
    assert (answer.code, answer.status) == (503, "degraded")
    assert (answer.states["redis"], answer.states["workers"]) == ("failed", "failed")
    assert answer.states["notifier"] == "failed"


@pytest.mark.parametrize("status", [401, 403])
def test_it_says_that_the_key_was_refused(
    signed_in: Callable[[User], Client], operator: User, all_well: Endpoint, status: int
) -> None:
    all_well.status = status
    answer = get(signed_in(operator))
    assert (answer.code, answer.states["model"]) == (503, "failed")
    assert "refused the key" in answer.body["checks"]["model"]["detail"]


def test_it_accepts_an_endpoint_without_a_list_of_models(client: Client, all_well: Endpoint) -> None:
    all_well.status = 404
    assert get(client).status == "ok"


def test_a_hanging_endpoint_holds_up_health_for_a_bounded_time(client: Client, all_well: Endpoint) -> None:
    all_well.delay = 3.0
    began = time.monotonic()
    answer = get(client)
    assert time.monotonic() - began < probes.MODEL_TIMEOUT + 1
    assert answer.states["model"] == "failed"


def test_a_hanging_endpoint_holds_up_readiness_for_less_than_a_second(
    client: Client, all_well: Endpoint
) -> None:
    all_well.delay = 3.0
    began = time.monotonic()
    answer = get(client, "/health/ready")
    assert time.monotonic() - began < 1
    assert (answer.code, answer.states["model"]) == (200, "degraded")


@pytest.mark.usefixtures("redis_down")
def test_it_is_ready_without_redis_workers_and_model(client: Client, settings: Any) -> None:
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    answer = get(client, "/health/ready")
    assert (answer.code, answer.status) == (200, "degraded")
    assert answer.states["database"] == "ok"


@pytest.mark.usefixtures("all_well")
def test_it_is_not_ready_with_unapplied_migrations(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    known = probes._known_migrations() | {("runtime", "9999_future")}
    monkeypatch.setattr(probes, "_known_migrations", lambda: known)
    answer = get(client, "/health/ready")
    assert (answer.code, answer.status) == (503, "failed")


@pytest.mark.usefixtures("all_well")
def test_it_is_not_ready_without_a_database(
    signed_in: Callable[[User], Client], operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> str:
        raise ConnectionError("connection to db.internal refused")

    monkeypatch.setattr(health.DATABASE, "_probe", refused)
    response = signed_in(operator).get("/health/ready")
    assert response.status_code == 503
    assert b"db.internal" not in response.content  # who asks can't be looked up


def test_it_is_alive_without_any_io(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert get(client, "/health/live").body == {"status": "ok"}


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live"])
def test_it_only_answers_reads(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def test_callers_share_one_probe_under_way() -> None:
    asked = []
    go = threading.Event()

    def slow() -> str:
        asked.append(1)
        go.wait(5)
        return ""

    check = health.Check("slow", slow, within=0.05)
    assert health.findings([check])["slow"].detail == "no answer in time"
    assert health.findings([check])["slow"].status == "failed"
    go.set()
    assert len(asked) == 1


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def down() -> str:
        raise RedisConnectionError("away")

    check = health.Check("redis", down, within=1)
    with caplog.at_level("INFO", logger="apps.observability.health"):
        check.ask().result(5)
        check.ask().result(5)
    assert [record.message for record in caplog.records] == ["health changed"]


def test_clients_to_redis_are_bounded() -> None:
    assert health.REDIS.within > 2 * redis_module.COMMAND_TIMEOUT
