"""Old checkpoints go, and the thread goes on as if they were there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from accounts.models import User
from assistants.shop.models import Order
from django.db import connection
from django.utils import timezone
from runtime import decisions, pruning, runs
from runtime.models import Run, RunStatus, Thread, ToolState
from runtime.retention import CHECKPOINT_TABLES

from tests.support.history import history_of, said

pytestmark = pytest.mark.django_db(transaction=True)

Turn = Callable[[Thread, str], Run]


def rest(thread: Thread) -> None:
    Thread.objects.filter(pk=thread.pk).update(updated_at=timezone.now() - timedelta(days=31))


def rows(thread: Thread) -> list[int]:
    with connection.cursor() as cursor:
        found = []
        for table in CHECKPOINT_TABLES:
            cursor.execute(f"SELECT count(*) FROM {table} WHERE thread_id = %s", [str(thread.pk)])
            found.append(cursor.fetchone()[0])
    return found


def test_the_newest_checkpoint_stays_and_holds_all(thread: Thread, turn: Turn, order: Order) -> None:
    for text in ("hello", "where is order 1042?", "what is 1+1"):
        turn(thread, text)
    before, (writes, blobs, checkpoints) = history_of(thread), rows(thread)
    rest(thread)

    assert sum(pruning.prune(30)) == checkpoints - 1

    assert history_of(thread) == before
    assert rows(thread)[0] < writes
    assert rows(thread)[1] < blobs
    assert rows(thread)[2] == 1


def test_a_pruned_thread_goes_on(thread: Thread, turn: Turn) -> None:
    turn(thread, "hello")
    rest(thread)
    list(pruning.prune(30))

    assert turn(thread, "what is 1+1").status == RunStatus.SUCCESS

    assert said(thread) == ["hello", "what is 1+1"]
    rest(thread)
    assert sum(pruning.prune(30)) > 0
    assert said(thread) == ["hello", "what is 1+1"]


def test_pruning_again_finds_nothing(thread: Thread, turn: Turn) -> None:
    turn(thread, "hello")
    rest(thread)

    assert sum(pruning.prune(30)) > 0
    assert list(pruning.prune(30)) == []


def test_a_thread_that_is_used_is_left_alone(thread: Thread, turn: Turn) -> None:
    turn(thread, "hello")
    before = rows(thread)

    assert list(pruning.prune(30)) == []
    assert rows(thread) == before


def test_a_thread_that_waits_or_has_a_run_is_left_alone(
    thread: Thread, turn: Turn, order: Order, rules: None, bob: User
) -> None:
    turn(thread, "refund order 1042")
    rest(thread)
    assert sum(pruning.prune(30)) == 0

    decisions.decide(bob, thread.tool_calls.get(state=ToolState.WAITING).pk, {"type": "approve"})
    rest(thread)
    assert thread.runs.filter(status=RunStatus.PENDING).exists()
    assert sum(pruning.prune(30)) == 0


def test_a_thread_whose_graph_is_gone_is_left_alone(thread: Thread, turn: Turn) -> None:
    turn(thread, "hello")
    rest(thread)
    thread.assistant.graph_id = "gone"
    thread.assistant.save()

    assert sum(pruning.prune(30)) == 0
    assert runs.reconcile().taken_over == 0
