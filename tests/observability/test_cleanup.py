from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from runtime import retention
from runtime.checkpoints import open_checkpointer
from runtime.events import log_key
from runtime.models import Message, Run, Thread, ToolCall
from runtime.redis_client import redis_client

pytestmark = pytest.mark.django_db(transaction=True)

OLD = timedelta(days=400)


def cleanup(*args: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("cleanup", "--json", *args, stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def age(thread: Thread, by: timedelta = OLD) -> Thread:
    Thread.objects.filter(pk=thread.pk).update(updated_at=timezone.now() - by)
    return thread


@pytest.fixture
def old_turn(approved_turn: tuple[Run, Run, ToolCall]) -> Thread:
    return age(approved_turn[0].thread)


@pytest.fixture
def checkpoints() -> Iterator[None]:
    """LangGraph's own tables, empty before and after."""

    async def make() -> None:
        async with open_checkpointer():
            pass

    asyncio.run(make())
    empty = f"TRUNCATE {', '.join(retention.CHECKPOINT_TABLES)}"
    with connection.cursor() as cursor:
        cursor.execute(empty)
    yield
    with connection.cursor() as cursor:
        cursor.execute(empty)


def put_checkpoint(thread_id: str) -> None:
    """One row in each of the tables."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%s, '1', '{}')",
            [thread_id],
        )
        cursor.execute(
            "INSERT INTO checkpoint_blobs (thread_id, channel, version, type) VALUES (%s, 'c', '1', 'empty')",
            [thread_id],
        )
        cursor.execute(
            "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, blob)"
            " VALUES (%s, '1', 't', 0, 'c', '')",
            [thread_id],
        )


def rows_in(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT thread_id FROM {table}")
        return [row[0] for row in cursor.fetchall()]


def test_it_forgets_an_old_thread_and_all_of_it(old_turn: Thread) -> None:
    redis_client().set(log_key(old_turn.pk), "x")
    assert cleanup()["threads"] == 1
    for model in (Thread, Run, Message, ToolCall):
        assert not model.objects.exists()
    assert not redis_client().exists(log_key(old_turn.pk))


@pytest.mark.usefixtures("checkpoints")
def test_it_deletes_the_checkpoints_of_what_it_forgets(old_turn: Thread) -> None:
    for thread_id in (str(old_turn.pk), "kept"):
        put_checkpoint(thread_id)
    cleanup()
    assert [rows_in(table) for table in retention.CHECKPOINT_TABLES] == [["kept"]] * 3


def test_it_keeps_a_thread_that_is_young_enough(thread: Thread) -> None:
    age(thread, timedelta(days=364))
    assert cleanup()["threads"] == 0
    assert Thread.objects.exists()


@pytest.mark.parametrize("status", ["pending", "running"])
def test_it_keeps_a_thread_with_an_active_run(
    thread: Thread, make_run: Callable[..., Run], status: str
) -> None:
    make_run(status, lease_expires_at=timezone.now())
    age(thread)
    assert cleanup()["threads"] == 0


@pytest.mark.parametrize("state", ["proposed", "waiting", "approved", "running", "unknown"])
def test_it_keeps_a_thread_with_an_unsettled_call(
    thread: Thread, make_call: Callable[..., ToolCall], state: str
) -> None:
    make_call(state)
    age(thread)
    assert cleanup()["threads"] == 0


def test_a_dry_run_deletes_nothing(old_turn: Thread) -> None:
    Session.objects.create(session_key="old", expire_date=timezone.now() - OLD)
    counts = {"threads": 1, "sessions": 1, "request_keys": 0, "webhook_values": 0}
    assert cleanup("--dry-run") == {"dry_run": True, **counts}
    assert Thread.objects.exists()
    assert Session.objects.exists()


def test_it_deletes_expired_sessions_only() -> None:
    Session.objects.create(session_key="old", expire_date=timezone.now() - OLD)
    Session.objects.create(session_key="new", expire_date=timezone.now() + OLD)
    assert cleanup()["sessions"] == 1
    assert Session.objects.get().session_key == "new"


def test_it_works_in_batches_and_says_so(thread: Thread) -> None:
    for _ in range(5):
        age(Thread.objects.create(owner=thread.owner, assistant=thread.assistant))
    out = io.StringIO()
    call_command("cleanup", "--batch-size", "2", stdout=out)
    assert out.getvalue().splitlines() == [
        "threads: 2 of 5 deleted",
        "threads: 4 of 5 deleted",
        "threads: 5 of 5 deleted",
        "Deleted 5 threads, 0 sessions and 0 keys of requests.",
    ]


def test_an_interrupted_cleanup_keeps_what_it_did_and_goes_on(thread: Thread) -> None:
    for _ in range(3):
        age(Thread.objects.create(owner=thread.owner, assistant=thread.assistant))
    next(retention.delete_threads(365, batch_size=2))
    assert Thread.objects.count() == 2  # one is left, and the young one
    assert cleanup()["threads"] == 1


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_it_refuses_a_batch_size_that_is_none(size: str) -> None:
    with pytest.raises(CommandError):
        call_command("cleanup", "--batch-size", size)


def test_reconcile_prints_what_it_mended(make_run: Callable[..., Run]) -> None:
    make_run("running", attempt=1, lease_expires_at=timezone.now() - OLD)
    out = io.StringIO()
    call_command("reconcile", "--json", stdout=out)
    assert json.loads(out.getvalue())["taken_over"] == 1
    assert Run.objects.get().status == "pending"
