"""Webhooks of runs: a real engine, a real server that is told, and what becomes of tells that fail."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from accounts.models import User
from assistants.shop.models import Order
from django.core.management import call_command
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client
from pytest_django.fixtures import Settings
from runtime import decisions, jobs, runs
from runtime.engine import Engine
from runtime.exceptions import NoWorker
from runtime.management.commands.worker import worker_of
from runtime.models import Assistant, Run, RunWebhook, ThreadState, ToolCall
from runtime.redis_client import redis_client
from runtime.webhooks import addresses, http, retries

from apps.chat.langgraph import webhooks
from tests.chat.langgraph.conftest import Program
from tests.support.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN = "/admin/runtime/runwebhook/"
INPUT = {"messages": [{"role": "user", "content": "hello"}]}
TOKEN = "?token=in-the-address"


@pytest.fixture
def receiver(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    settings.RUN_WEBHOOK_HOSTS = ["127.0.0.1"]
    monkeypatch.setattr(http, "TIME_LIMIT", 1.0)
    with Receiver() as running:
        yield running


@pytest.fixture
def begin(alices_program: Program, assistant: Assistant, receiver: Receiver) -> Callable[..., dict[str, Any]]:
    def make(path: str = "/runs", **body: Any) -> dict[str, Any]:
        asked = {"assistant_id": "shop", "input": INPUT, "webhook": receiver.url + TOKEN, **body}
        answer = alices_program.post(path, asked)
        assert answer.status_code == 200, answer.content
        return answer.json()  # type: ignore[no-any-return]

    return make


def perform_due() -> list[str]:
    """What a worker does with what is due now."""
    return [webhooks.perform(str(pk)) for pk in RunWebhook.due().values_list("pk", flat=True)]


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in receiver.received]


def test_the_end_of_a_run_is_told(
    begin: Callable[..., dict[str, Any]], engine: Engine, receiver: Receiver, settings: Settings
) -> None:
    settings.RUN_WEBHOOK_SECRET = "s3cret"
    run = begin(metadata={"order": "A1"})

    assert RunWebhook.objects.get().status == "armed"
    assert perform_due() == []  # nothing has happened yet
    engine.perform(run["run_id"])

    assert perform_due() == ["sent"]
    (message,) = told(receiver)
    assert {name: message[name] for name in ("run_id", "thread_id", "status", "metadata")} == {
        "run_id": run["run_id"],
        "thread_id": run["thread_id"],
        "status": "success",
        "metadata": {"order": "A1"},
    }
    assert [each["type"] for each in message["values"]["messages"]] == ["human", "ai"]
    assert message["run_started_at"] < message["run_ended_at"] < message["webhook_sent_at"]
    assert "error" not in message
    (got,) = receiver.received
    signature = f"{got.headers['Countersign-Timestamp']}.".encode() + got.body
    expected = hmac.new(b"s3cret", signature, hashlib.sha256).hexdigest()
    assert got.path.endswith(TOKEN)
    assert got.headers["Countersign-Signature"] == f"sha256={expected}"
    webhook = RunWebhook.objects.get()
    assert (webhook.status, webhook.values, str(webhook.pk)) == (
        "sent",
        None,
        got.headers["Countersign-Delivery"],
    )
    assert perform_due() == []


def test_the_address_is_in_no_row_and_no_answer(
    begin: Callable[..., dict[str, Any]], alices_program: Program, receiver: Receiver
) -> None:
    run = begin()

    answer = alices_program.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}")

    row = RunWebhook.objects.get()
    assert "in-the-address" not in json.dumps(run) + answer.content.decode() + row.sealed_url
    assert (row.host, row.url) == ("127.0.0.1", receiver.url + TOKEN)


def test_what_fails_says_why(
    begin: Callable[..., dict[str, Any]], engine: Engine, receiver: Receiver
) -> None:
    run = begin(input={"messages": [{"role": "user", "content": "hello"}]}, config={"recursion_limit": 1})

    engine.perform(run["run_id"])

    assert perform_due() == ["sent"]
    (message,) = told(receiver)
    assert message["status"] == "error"
    assert message["error"]["error"] == "GraphRecursionError"


def test_a_run_that_waits_is_told_and_so_is_what_goes_on(
    begin: Callable[..., dict[str, Any]],
    engine: Engine,
    receiver: Receiver,
    order: Order,
    rules: None,
    bob: User,
) -> None:
    refund = {"messages": [{"role": "user", "content": "refund 0.01 of order 1042"}]}
    run = begin(input=refund, on_completion="keep")
    engine.perform(run["run_id"])
    assert perform_due() == ["sent"]
    call = ToolCall.objects.get(state="waiting")

    decisions.decide(bob, call.pk, {"type": "approve"})
    assert not RunWebhook.objects.filter(status="pending").exists()
    resumed = Run.objects.get(resumes=run["run_id"])
    engine.perform(str(resumed.pk))

    assert perform_due() == ["sent"]
    waits, ended = told(receiver)
    (asked,) = waits["values"]["__interrupt__"]
    assert asked["value"]["action_requests"][0]["name"] == "refund_order"
    assert (waits["status"], waits["run_id"]) == ("success", run["run_id"])
    assert (ended["status"], ended["run_id"]) == ("success", str(resumed.pk))
    assert "__interrupt__" not in ended["values"]


def test_a_run_that_is_stopped_in_the_queue_is_told(
    begin: Callable[..., dict[str, Any]], receiver: Receiver
) -> None:
    run = begin()

    runs.cancel_run(Run.objects.get(pk=run["run_id"]))

    assert perform_due() == ["sent"]
    assert [(each["status"], each["values"]) for each in told(receiver)] == [("interrupted", None)]


def test_the_values_are_those_of_the_run_although_the_thread_went_on(
    begin: Callable[..., dict[str, Any]], engine: Engine, receiver: Receiver
) -> None:
    first = begin(on_completion="keep")
    engine.perform(first["run_id"])
    second = begin(f"/threads/{first['thread_id']}/runs")
    engine.perform(second["run_id"])

    assert perform_due() == ["sent", "sent"]
    lengths = {each["run_id"]: len(each["values"]["messages"]) for each in told(receiver)}
    assert lengths == {first["run_id"]: 2, second["run_id"]: 4}


def test_a_state_that_no_row_has_is_asked_of_a_worker(
    begin: Callable[..., dict[str, Any]],
    engine: Engine,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = begin(on_completion="keep")
    engine.perform(run["run_id"])
    RunWebhook.objects.update(values=None)
    ThreadState.objects.all().delete()

    def nobody(*_: Any, **__: Any) -> Any:
        raise NoWorker

    with monkeypatch.context() as patch:
        patch.setattr(webhooks.calls, "ask", nobody)
        assert perform_due() == ["to be tried again"]
    let_come_due()

    assert perform_due() == ["sent"]
    assert len(told(receiver)[0]["values"]["messages"]) == 2


def let_come_due() -> None:
    RunWebhook.objects.filter(status="pending").update(due_at=Now() - timedelta(seconds=1))


def ended(begin: Callable[..., dict[str, Any]]) -> RunWebhook:
    run = begin()
    runs.cancel_run(Run.objects.get(pk=run["run_id"]))
    return RunWebhook.objects.get(run=run["run_id"])


def test_it_is_tried_again_with_growing_waits_and_given_up(
    begin: Callable[..., dict[str, Any]], receiver: Receiver
) -> None:
    webhook = ended(begin)
    receiver.behaviour = "status 503"
    waits = []

    for _ in range(retries.MAX_TRIES):
        let_come_due()
        perform_due()
        webhook.refresh_from_db()
        last = webhook.attempts.latest("started_at")
        waits.append((webhook.due_at - last.ended_at).total_seconds())

    assert webhook.status == "failed"
    assert [each.http_status for each in webhook.attempts.all()] == [503] * retries.MAX_TRIES
    for wait, planned in zip(waits, retries.DELAYS, strict=False):
        assert planned * 0.8 <= round(wait) <= planned * 1.2
    assert len(receiver.received) == retries.MAX_TRIES


def test_what_redis_lost_is_brought_again(begin: Callable[..., dict[str, Any]], receiver: Receiver) -> None:
    webhook = ended(begin)
    assert jobs.job_id(webhooks.PERFORM, str(webhook.pk)) in jobs.queue().job_ids
    redis_client().flushdb()

    runs.reconcile()

    assert jobs.job_id(webhooks.PERFORM, str(webhook.pk)) in jobs.queue().job_ids
    assert jobs.callable_of(webhooks.PERFORM) is webhooks.perform


def test_what_a_dead_worker_had_taken_is_sent_when_its_lease_is_over(
    begin: Callable[..., dict[str, Any]], receiver: Receiver
) -> None:
    webhook = ended(begin)
    assert webhooks.claim(webhook.pk) is not None

    assert perform_due() == []
    RunWebhook.objects.update(lease_expires_at=Now() - timedelta(seconds=1))

    assert perform_due() == ["sent"]


def test_an_end_that_is_undone_tells_nobody(begin: Callable[..., dict[str, Any]]) -> None:
    run = Run.objects.get(pk=begin()["run_id"])

    with transaction.atomic():
        runs.cancel_run(run)
        transaction.set_rollback(True)

    assert RunWebhook.objects.get().status == "armed"


def test_a_host_that_hangs_does_not_keep_every_slot(
    begin: Callable[..., dict[str, Any]], receiver: Receiver
) -> None:
    rows = [ended(begin) for _ in range(webhooks.AT_ONCE_TO_ONE + 1)]

    claimed = [webhooks.claim(row.pk) is not None for row in rows]

    assert claimed == [True] * webhooks.AT_ONCE_TO_ONE + [False]


def test_one_person_s_hosts_that_hang_do_not_keep_every_slot(
    begin: Callable[..., dict[str, Any]], receiver: Receiver, carol: User
) -> None:
    rows = [ended(begin) for _ in range(webhooks.AT_ONCE_OF_ONE + 2)]
    for number, row in enumerate(rows):
        RunWebhook.objects.filter(pk=row.pk).update(host=f"{number}.example.com")
    Run.objects.filter(pk=rows[-1].run_id).update(user=carol)

    claimed = [webhooks.claim(row.pk) is not None for row in rows]

    assert claimed == [True] * webhooks.AT_ONCE_OF_ONE + [False, True]


@pytest.mark.parametrize("flood", ["one person", "one host"])
def test_a_flood_leaves_room_in_the_queue_for_others(
    begin: Callable[..., dict[str, Any]],
    receiver: Receiver,
    carol: User,
    monkeypatch: pytest.MonkeyPatch,
    flood: str,
) -> None:
    monkeypatch.setattr(webhooks, "DUE_AT_ONE_LOOK", 3)
    monkeypatch.setattr(webhooks, "OF_ONE_AT_ONE_LOOK", 2)
    *rows, last = [ended(begin) for _ in range(6)]
    if flood == "one person":  # with a host of their own each
        for number, row in enumerate(rows):
            RunWebhook.objects.filter(pk=row.pk).update(host=f"{number}.example.com")
        Run.objects.filter(pk=last.run_id).update(user=carol)
    else:
        for number, row in enumerate(rows):
            user = User.objects.create_user(f"one-of-many-{number}")
            Run.objects.filter(pk=row.run_id).update(user=user)
        RunWebhook.objects.filter(pk=last.pk).update(host="other.example.com")
    redis_client().flushdb()

    assert webhooks.enqueue_due() == 3
    assert jobs.job_id(webhooks.PERFORM, str(last.pk)) in jobs.queue().job_ids


def test_half_of_a_worker_is_left_to_what_approvers_are_told(
    begin: Callable[..., dict[str, Any]], receiver: Receiver
) -> None:
    redis_client().flushdb()
    worker_of(jobs.QUEUE, 5).work(burst=True)
    webhook = ended(begin)
    try:
        with jobs.half_of_the_slots() as first, jobs.half_of_the_slots() as second:
            assert (first, second) == (True, True)
            assert webhooks.perform(str(webhook.pk)) == "not now"
        assert perform_due() == ["sent"]
    finally:
        jobs.set_slots(2)


def test_a_name_server_that_hangs_is_given_up_in_time(
    begin: Callable[..., dict[str, Any]], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_given, **_more: over.wait(30) and [])
    begun = time.monotonic()
    try:
        with pytest.raises(http.Unsuccessful, match="No answer within"):
            http.post("https://slow.example.com/hook", b"{}", {}, addresses.Inside.RUNS)
    finally:
        over.set()
    assert time.monotonic() - begun < 5


def test_values_that_are_large_are_not_kept_but_asked_for(
    begin: Callable[..., dict[str, Any]],
    engine: Engine,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhooks, "KEPT_BYTES", 100)
    engine.perform(begin(on_completion="keep")["run_id"])

    assert RunWebhook.objects.get().values is None
    assert perform_due() == ["sent"]
    assert len(told(receiver)[0]["values"]["messages"]) == 2


def test_what_failed_holds_no_copy_of_the_state_after_a_week(
    begin: Callable[..., dict[str, Any]], engine: Engine, receiver: Receiver
) -> None:
    for _ in range(2):
        engine.perform(begin()["run_id"])
    old, young = RunWebhook.objects.order_by("created_at")
    RunWebhook.objects.update(status="failed", settled_at=Now())
    RunWebhook.objects.filter(pk=old.pk).update(settled_at=Now() - timedelta(days=8))
    out = StringIO()

    call_command("cleanup", "--dry-run", "--json", stdout=out)
    assert json.loads(out.getvalue())["webhook_values"] == 1
    assert RunWebhook.objects.get(pk=old.pk).values
    call_command("cleanup", "--json", stdout=StringIO())

    assert RunWebhook.objects.get(pk=old.pk).values is None
    assert RunWebhook.objects.get(pk=young.pk).values


def test_somebody_who_may_not_begin_runs_any_more_is_told_no_more(
    begin: Callable[..., dict[str, Any]], receiver: Receiver, alice: User
) -> None:
    ended(begin)
    alice.groups.clear()

    assert perform_due() == ["failed"]
    assert "may not begin runs" in RunWebhook.objects.get().error
    assert receiver.received == []


def test_somebody_who_is_deactivated_is_told_no_more(
    begin: Callable[..., dict[str, Any]], receiver: Receiver, alice: User
) -> None:
    ended(begin)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert perform_due() == ["failed"]
    assert receiver.received == []


REFUSED = [
    "/relative",
    "http://127.0.0.1/x",
    "https://localhost/x",
    "https://10.0.0.7/x",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/x",
    "http://example.com/x",
    "ftp://example.com/x",
    "https://user:password@example.com/",
    f"https://example.com/{'x' * 2000}",
]


def test_an_internal_address_is_refused(
    alices_program: Program, assistant: Assistant, settings: Settings
) -> None:
    settings.WEBHOOK_INTERNAL_HOSTS = ["127.0.0.1", "localhost"]  # for administrators' webhooks, not these

    for path in ("/runs", "/runs/wait", "/runs/stream"):
        for url in REFUSED:
            answer = alices_program.post(path, {"assistant_id": "shop", "input": INPUT, "webhook": url})
            assert answer.status_code == 422, url
            assert "webhook" in answer.json()["detail"]
    assert not Run.objects.exists()


def test_operators_see_it_without_the_address_and_try_it_again(
    begin: Callable[..., dict[str, Any]],
    receiver: Receiver,
    operator: User,
    dave: User,
    carol: User,
    signed_in: Callable[[User], Client],
) -> None:
    webhook = ended(begin)
    RunWebhook.objects.update(tries=retries.MAX_TRIES - 1)
    receiver.behaviour = "status 503"
    perform_due()
    again = {"action": "try_again", "_selected_action": [str(webhook.pk)]}

    for person in (operator, dave):
        for url in (ADMIN, f"{ADMIN}{webhook.pk}/change/"):
            page = signed_in(person).get(url).content.decode()
            assert "127.0.0.1" in page
            assert "503" in page
            assert "in-the-address" not in page
    assert "/admin/login/" in signed_in(carol).get(ADMIN)["Location"]
    signed_in(dave).post(ADMIN, again)
    webhook.refresh_from_db()
    assert webhook.status == "failed"  # who may only look changes nothing
    signed_in(operator).post(ADMIN, again)
    receiver.behaviour = "fine"

    assert perform_due() == ["sent"]
