"""Crons: what programs make, and what begins when they are due."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from accounts import keys, tokens
from accounts.models import ApiKey, User
from accounts.scopes import Scope
from django.db import connections
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings
from runtime import assistants, crons, erasure, runs
from runtime.configuration import config_of
from runtime.models import Assistant, AuditEvent, Cron, CronTurn, Run, RunWebhook, Thread

from apps.chat.langgraph.crons import begin
from tests.chat.conftest import Worker
from tests.chat.langgraph.conftest import Program

pytestmark = pytest.mark.django_db

ADMIN = "/admin/runtime/cron/"
INPUT = {"messages": [{"role": "user", "content": "hello"}]}
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"  # of a kind that is masked


@pytest.fixture
def make(alices_program: Program, assistant: Assistant) -> Callable[..., Cron]:
    def make(path: str = "/runs/crons", **fields: Any) -> Cron:
        body = {"assistant_id": "shop", "schedule": "*/5 * * * *", "input": INPUT, **fields}
        answer = alices_program.post(path, body)
        assert answer.status_code == 200, answer.content
        return Cron.objects.get(pk=answer.json()["cron_id"])

    return make


def let_come_due(minutes: int = 1) -> None:
    Cron.objects.filter(is_enabled=True).update(next_run_at=Now() - timedelta(minutes=minutes))


def perform_due() -> int:
    return crons.perform_due(begin)


def test_a_cron_is_made_found_changed_and_deleted(
    alices_program: Program, thread: Thread, carol: User, program: Callable[..., Program]
) -> None:
    asked = {"assistant_id": "shop", "schedule": "0 9 * * *", "input": INPUT, "metadata": {"kind": "daily"}}
    made = alices_program.post(f"/threads/{thread.pk}/runs/crons", asked).json()
    where = f"/runs/crons/{made['cron_id']}"

    assert (made["thread_id"], made["schedule"], made["enabled"]) == (str(thread.pk), "0 9 * * *", True)
    assert made["payload"]["input"] == INPUT
    assert made["next_run_date"] > timezone.now().isoformat()
    for search in ({"thread_id": str(thread.pk)}, {"assistant_id": "shop"}, {"metadata": {"kind": "daily"}}):
        assert alices_program.post("/runs/crons/search", search).json() == [made]
        assert alices_program.post("/runs/crons/count", search).json() == 1
    assert alices_program.post("/runs/crons/search", {"enabled": False}).json() == []

    changed = alices_program.call("PATCH", where, {"enabled": False, "timezone": "Asia/Shanghai"}).json()
    assert (changed["enabled"], changed["next_run_date"], changed["payload"]) == (
        False,
        None,
        made["payload"],
    )
    again = alices_program.call("PATCH", where, {"enabled": True, "end_time": "2020-01-01T00:00:00Z"}).json()
    assert (again["enabled"], again["next_run_date"]) == (True, None)
    open_ended = alices_program.call("PATCH", where, {"end_time": None}).json()
    assert open_ended["next_run_date"][11:16] == "01:00"  # nine in Shanghai

    stranger = program(carol)
    assert stranger.post("/runs/crons/search").json() == []
    assert stranger.call("PATCH", where, {"enabled": False}).status_code == 404
    assert stranger.call("DELETE", where).status_code == 404
    assert stranger.post(f"/threads/{thread.pk}/runs/crons", asked).status_code == 404
    assert alices_program.call("DELETE", where).status_code == 204
    assert not Cron.objects.exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"schedule": "every day"}, 422),
        ({"schedule": "* * * * * *"}, 422),
        ({"timezone": "Europe/Nowhere"}, 422),
        ({"input": None}, 422),
        ({"input": {"messages": [{"role": "ai", "tool_calls": [{"name": "refund_order"}]}]}}, 422),
        ({"assistant_id": "nobody"}, 422),
        ({"webhook": "https://127.0.0.1/x"}, 422),
        ({"interrupt_before": "*"}, 422),
        ({"checkpoint_id": "1ef00000-0000-6000-8000-000000000000"}, 422),
        ({"checkpoint": {"checkpoint_id": "1ef00000-0000-6000-8000-000000000000"}}, 422),
        ({"config": {"configurable": {"checkpoint_id": "1ef00000-0000-6000-8000-000000000000"}}}, 422),
        ({"stream_mode": "nonsense"}, 422),
        ({"context": {"a": 1}, "config": {"configurable": {"b": 1}}}, 400),
    ],
)
def test_what_could_never_begin_is_refused(
    alices_program: Program, assistant: Assistant, body: dict[str, Any], status: int
) -> None:
    asked = {"assistant_id": "shop", "schedule": "0 9 * * *", "input": INPUT, **body}

    assert alices_program.post("/runs/crons", asked).status_code == status
    assert not Cron.objects.exists()


def test_one_person_has_so_many(
    make: Callable[..., Cron], alices_program: Program, settings: Settings
) -> None:
    make()
    settings.USER_CRON_LIMIT = 1

    asked = {"assistant_id": "shop", "schedule": "0 9 * * *", "input": INPUT}
    assert alices_program.post("/runs/crons", asked).status_code == 409


def test_what_is_due_begins_once_and_what_was_missed_is_one_run(
    make: Callable[..., Cron], alice: User
) -> None:
    cron = make(metadata={"kind": "daily"}, on_run_completed="keep")
    assert perform_due() == 0
    let_come_due(minutes=3000)

    assert perform_due() == 1
    assert perform_due() == 0

    run = Run.objects.get()
    assert (run.user, run.thread.owner, run.status) == (alice, alice, "pending")
    assert run.metadata == {"kind": "daily", "cron_id": str(cron.pk)}
    assert run.options["on_completion"] == "keep"
    turn = cron.turns.get()
    assert (turn.run, turn.problem) == (run, "")
    cron.refresh_from_db()
    assert timezone.now() < cron.next_run_at <= timezone.now() + timedelta(minutes=5)


def test_one_of_a_thread_talks_in_it(make: Callable[..., Cron], thread: Thread) -> None:
    make(f"/threads/{thread.pk}/runs/crons")

    let_come_due()
    perform_due()

    run = Run.objects.get()
    assert (run.thread, run.options["on_completion"]) == (thread, "keep")


@pytest.mark.django_db(transaction=True)
def test_several_workers_begin_one(make: Callable[..., Cron]) -> None:
    make()
    let_come_due()

    def look(_: int) -> int:
        try:
            return perform_due()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(look, range(8))) == 1
    assert (Run.objects.count(), CronTurn.objects.count()) == (1, 1)


def test_a_time_that_was_taken_is_not_taken_again(make: Callable[..., Cron]) -> None:
    cron = make()
    let_come_due()
    cron.refresh_from_db()
    CronTurn.objects.create(cron=cron, due_at=cron.next_run_at)

    assert perform_due() == 0
    assert not Run.objects.exists()
    cron.refresh_from_db()
    assert cron.next_run_at > timezone.now()


@pytest.mark.django_db(transaction=True)
def test_the_workers_watch_begins_what_is_due(make: Callable[..., Cron]) -> None:
    make()
    let_come_due()

    runs.reconcile()

    assert Run.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_what_was_lost_is_taken_back_before_anything_that_is_due_begins(
    make: Callable[..., Cron], thread: Thread, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    let_come_due()
    lost = Run.claim(runs.send_message(thread, alice, "go").pk, "dead")
    assert lost
    Run.objects.filter(pk=lost.pk).update(lease_expires_at="2020-01-01T00:00Z")
    seen = []

    def begin_and_look(cron: Cron) -> Run:
        seen.append(Run.objects.get(pk=lost.pk).status)
        return begin(cron)

    monkeypatch.setattr("apps.chat.receivers.cron_views.begin", begin_and_look)
    runs.reconcile()

    assert seen == ["pending"]


def revoked(key: ApiKey) -> None:
    keys.revoke_key(key)


def expired(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now())


def narrowed(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(scopes=[Scope.APPROVE.value])


@pytest.mark.parametrize("end", [revoked, expired, narrowed])
def test_it_stops_with_its_key_until_its_owner_changes_it_with_another(
    make: Callable[..., Cron], alice: User, program: Callable[..., Program], end: Callable[[ApiKey], None]
) -> None:
    cron = make()
    assert cron.key == ApiKey.objects.get(owner=alice)
    end(cron.key)
    let_come_due()

    assert perform_due() == 0

    cron.refresh_from_db()
    assert (cron.is_enabled, "key" in cron.problem) == (False, True)
    assert not Run.objects.exists()
    other = program(alice).call("PATCH", f"/runs/crons/{cron.pk}", {"enabled": True})
    assert other.status_code == 200
    let_come_due()
    assert perform_due() == 1


def test_one_made_with_a_token_needs_its_owner_only(assistant: Assistant, alice: User) -> None:
    access = tokens.issue(alice).access
    body = {"assistant_id": "shop", "schedule": "*/5 * * * *", "input": INPUT}
    answer = Program().post("/runs/crons", body, Authorization=f"Bearer {access}")
    assert answer.status_code == 200, answer.content
    assert Cron.objects.get().key is None
    let_come_due()

    assert perform_due() == 1


def test_one_that_named_a_checkpoint_before_that_was_refused_stops(
    make: Callable[..., Cron], thread: Thread
) -> None:
    cron = make(f"/threads/{thread.pk}/runs/crons")
    Cron.objects.update(payload={"input": INPUT, "config": {"configurable": {"checkpoint_id": "1ef"}}})
    let_come_due()

    assert perform_due() == 0
    cron.refresh_from_db()
    assert (cron.is_enabled, "checkpoint" in cron.problem) == (False, True)


def test_it_stops_with_its_owners_rights(make: Callable[..., Cron], alice: User) -> None:
    cron = make()
    let_come_due()
    alice.groups.clear()

    assert perform_due() == 0

    cron.refresh_from_db()
    assert (cron.is_enabled, cron.next_run_at) == (False, None)
    assert "may not begin" in cron.problem
    assert not Run.objects.exists()
    assert AuditEvent.objects.filter(action="cron.stopped").exists()


def test_it_stops_with_a_deactivated_owner(make: Callable[..., Cron], alice: User) -> None:
    cron = make()
    let_come_due()
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert perform_due() == 0
    cron.refresh_from_db()
    assert not cron.is_enabled


def test_it_goes_with_an_erased_owner(make: Callable[..., Cron], alice: User) -> None:
    make()
    let_come_due()

    erasure.erase(alice)

    assert (perform_due(), Cron.objects.count(), Run.objects.count()) == (0, 0, 0)


def test_it_stops_with_its_assistant_and_its_thread(
    make: Callable[..., Cron], thread: Thread, assistant: Assistant
) -> None:
    of_thread = make(f"/threads/{thread.pk}/runs/crons")
    thread.withdraw_from_owner()
    let_come_due()
    assert perform_due() == 0
    of_thread.refresh_from_db()
    assert (of_thread.is_enabled, "deleted" in of_thread.problem) == (False, True)

    other = make()
    assistants.retire(assistant.pk)
    let_come_due()
    assert perform_due() == 0
    other.refresh_from_db()
    assert (other.is_enabled, "not offered" in other.problem) == (False, True)


def test_what_can_t_begin_now_is_said_and_tried_the_next_time(
    make: Callable[..., Cron], thread: Thread, worker: Worker
) -> None:
    cron = make(f"/threads/{thread.pk}/runs/crons")
    worker.call(worker.begin(), "waiting")
    let_come_due()

    assert perform_due() == 0

    cron.refresh_from_db()
    assert (cron.is_enabled, "waits for a decision" in cron.problem) == (True, True)
    assert cron.next_run_at > timezone.now()
    assert cron.turns.get().problem == cron.problem


def test_one_that_fails_keeps_no_other_from_its_time(
    make: Callable[..., Cron], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = make(), make()
    let_come_due()

    def begin_or_fail(cron: Cron) -> Run:
        if cron == broken:
            raise ZeroDivisionError
        return begin(cron)

    assert crons.perform_due(begin_or_fail) == 1
    broken.refresh_from_db()
    assert (broken.problem, broken.is_enabled) == ("ZeroDivisionError", True)
    assert other.turns.get().run is not None


def test_its_secrets_and_its_webhook_are_in_no_row_and_reach_the_run(
    make: Callable[..., Cron], alices_program: Program
) -> None:
    url = "https://example.com/hook?token=in-the-address"
    cron = make(webhook=url, config={"configurable": {"api_key": SECRET}})
    seen = alices_program.post("/runs/crons/search").content.decode()
    row = json.dumps(Cron.objects.values().get(), default=str)
    told = "".join(event.body for event in AuditEvent.objects.all())
    assert str(cron.pk) in told
    for text in (seen, row, told):
        assert SECRET not in text
        assert "in-the-address" not in text
    # Sent back as it was read, the mark stands for what it stood for.
    alices_program.call(
        "PATCH", f"/runs/crons/{cron.pk}", {"config": json.loads(seen)[0]["payload"]["config"]}
    )
    let_come_due()

    assert perform_due() == 1

    run = Run.objects.get()
    assert RunWebhook.objects.get(run=run).url == url
    assert config_of(run)["configurable"]["api_key"] == SECRET


def test_a_key_without_the_scope_gets_nowhere(
    make: Callable[..., Cron], alice: User, program: Callable[..., Program]
) -> None:
    cron = make()

    other = program(alice, Scope.APPROVE)
    assert other.call("DELETE", f"/runs/crons/{cron.pk}").status_code == 403
    assert other.post("/runs/crons/search").status_code == 403


def test_operators_pause_and_resume_in_the_admin(
    make: Callable[..., Cron],
    operator: User,
    dave: User,
    carol: User,
    signed_in: Callable[[User], Client],
) -> None:
    cron = make()
    let_come_due()
    perform_due()
    pause = {"action": "pause", "_selected_action": [str(cron.pk)]}

    for person in (operator, dave):
        for url in (ADMIN, f"{ADMIN}{cron.pk}/change/"):
            page = signed_in(person).get(url).content.decode()
            assert "*/5 * * * *" in page
            assert str(cron.key) in page
            assert str(Run.objects.get().pk) in page
    assert "/admin/login/" in signed_in(carol).get(ADMIN)["Location"]
    signed_in(dave).post(ADMIN, pause)
    cron.refresh_from_db()
    assert cron.is_enabled  # who may only look changes nothing

    signed_in(operator).post(ADMIN, pause)
    cron.refresh_from_db()
    assert (cron.is_enabled, cron.next_run_at) == (False, None)
    signed_in(operator).post(ADMIN, {**pause, "action": "resume"})
    cron.refresh_from_db()
    assert cron.is_enabled
    assert cron.next_run_at > timezone.now()
