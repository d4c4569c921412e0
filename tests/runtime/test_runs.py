from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from accounts.models import User
from django.db import connection, transaction
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.exceptions import LeaseLost, MessageTooLong, ThreadBusy, ThreadWaiting
from runtime.models import Message, Run, RunStatus, Thread, ToolCall, ToolState

from tests.support.calls import proposed_by
from tests.support.decided import decided
from tests.support.processes import until

pytestmark = pytest.mark.django_db


def waiting_call(run: Run) -> ToolCall:
    call = proposed_by(run)
    call.advance(ToolState.WAITING)
    return call


def test_it_writes_the_message_and_a_pending_run(thread: Thread, alice: User) -> None:
    run = runs.send_message(thread, alice, "Refund order 1042")

    assert run.status == RunStatus.PENDING
    assert Message.objects.get(run=run).content == "Refund order 1042"
    thread.refresh_from_db()
    assert thread.title == "Refund order 1042"


def test_it_refuses_a_message_that_is_too_long(thread: Thread, alice: User, settings: Settings) -> None:
    settings.MESSAGE_MAX_CHARS = 5

    with pytest.raises(MessageTooLong, match="6 characters"):
        runs.send_message(thread, alice, "123456")
    assert not Run.objects.exists()


def test_one_of_two_claims_wins(thread: Thread, alice: User) -> None:
    run = runs.send_message(thread, alice, "hello")

    first, second = Run.claim(run.pk, "one"), Run.claim(run.pk, "two")

    assert first is not None
    assert first.attempt == 1
    assert second is None


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_met_another_loses(thread: Thread, alice: User) -> None:
    run = runs.send_message(thread, alice, "hello")
    with ThreadPoolExecutor(1) as other, transaction.atomic():
        first = Run.claim(run.pk, "one")
        second = other.submit(claim_and_disconnect, run)
        until(is_waiting_for_a_lock)

    assert first is not None
    assert second.result() is None


def claim_and_disconnect(run: Run) -> Run | None:
    try:
        return Run.claim(run.pk, "two")
    finally:
        connection.close()


def is_waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_a_second_message_waits_for_its_turn(thread: Thread, alice: User) -> None:
    first = runs.send_message(thread, alice, "one")
    second = runs.send_message(thread, alice, "two")

    assert Run.claim(second.pk, "w") is None
    claimed = Run.claim(first.pk, "w")
    assert claimed is not None
    assert Run.claim(second.pk, "w") is None
    claimed.finish(RunStatus.SUCCESS)
    assert Run.claim(second.pk, "w") is not None


def given_back(thread: Thread) -> tuple[Run, ToolCall]:
    """A run whose worker stopped after a call had begun to wait, and before the run did."""
    run = Run.claim(runs.send_message(thread, thread.owner, "refund").pk, "w")
    assert run is not None
    call = waiting_call(run)
    run.release()
    return run, call


def test_a_turn_that_was_given_back_goes_on_although_a_call_of_it_waits(thread: Thread) -> None:
    run, _ = given_back(thread)

    assert Run.claim(run.pk, "w") is not None


def test_a_turn_that_was_given_back_goes_on_before_it_is_resumed(thread: Thread) -> None:
    run, call = given_back(thread)
    assert decided(call, ToolState.APPROVED)
    resume = runs.resume(call)

    assert Run.claim(resume.pk, "w") is None
    claimed = Run.claim(run.pk, "w")
    assert claimed is not None
    claimed.finish(RunStatus.SUCCESS)
    assert Run.claim(resume.pk, "w") is not None


def test_a_turn_that_was_given_back_takes_its_question_along_when_it_is_stopped(thread: Thread) -> None:
    run, call = given_back(thread)

    assert runs.cancel_run(run)

    call.refresh_from_db()
    assert call.state == ToolState.CANCELLED


def test_it_refuses_a_second_message_when_told_to(thread: Thread, alice: User) -> None:
    runs.send_message(thread, alice, "one")

    with pytest.raises(ThreadBusy):
        runs.send_message(thread, alice, "two", when_busy="reject")


def test_a_message_never_overtakes_a_waiting_approval(thread: Thread, alice: User) -> None:
    run = Run.claim(runs.send_message(thread, alice, "refund").pk, "w")
    assert run is not None
    queued = runs.send_message(thread, alice, "and hello")  # sent while the turn still ran
    call = waiting_call(run)
    run.finish(RunStatus.WAITING)

    assert Run.claim(queued.pk, "w") is None
    with pytest.raises(ThreadWaiting):
        runs.send_message(thread, alice, "hello?")

    assert decided(call, ToolState.APPROVED)
    resumed = runs.resume(call)
    assert resumed.resumes == run
    assert Run.claim(queued.pk, "w") is None  # the resumed turn goes first, though it is younger
    claimed = Run.claim(resumed.pk, "w")
    assert claimed is not None
    assert call.advance(ToolState.RUNNING)
    assert call.advance(ToolState.DONE)
    claimed.finish(RunStatus.SUCCESS)
    assert Run.claim(queued.pk, "w") is not None


def test_an_earlier_attempt_can_write_no_more(thread: Thread, alice: User) -> None:
    run = Run.claim(runs.send_message(thread, alice, "hello").pk, "slow")
    assert run is not None
    Run.objects.filter(pk=run.pk).update(lease_expires_at="2020-01-01T00:00Z")
    assert runs.reconcile().taken_over == 1
    again = Run.claim(run.pk, "fast")
    assert again is not None

    with pytest.raises(LeaseLost):
        run.finish(RunStatus.SUCCESS)
    with pytest.raises(LeaseLost):
        run.hold()
    assert Run.renew([(run.pk, run.attempt)]) == set()
    assert Run.renew([(again.pk, again.attempt)]) == {again.pk}


def test_a_run_that_kills_its_workers_is_given_up(thread: Thread, alice: User, settings: Settings) -> None:
    settings.RUN_MAX_ATTEMPTS = 1
    run = Run.claim(runs.send_message(thread, alice, "poison").pk, "w")
    assert run is not None
    Run.objects.filter(pk=run.pk).update(lease_expires_at="2020-01-01T00:00Z")

    runs.reconcile()

    run.refresh_from_db()
    assert run.status == RunStatus.ERROR
    assert "1 times" in run.error


def test_stop_ends_a_queued_run_at_once(thread: Thread, alice: User) -> None:
    run = runs.send_message(thread, alice, "hello")

    assert runs.cancel_run(run)
    assert run.status == RunStatus.CANCELLED
    assert not runs.cancel_run(run)


def test_stop_of_a_queued_message_withdraws_nothing_that_another_turn_asked(
    thread: Thread, alice: User
) -> None:
    run = Run.claim(runs.send_message(thread, alice, "refund").pk, "w")
    assert run is not None
    queued = runs.send_message(thread, alice, "and hello")  # sent while the turn still ran
    call = waiting_call(run)
    run.finish(RunStatus.WAITING)

    assert runs.cancel_run(queued)

    call.refresh_from_db()
    assert call.state == ToolState.WAITING


def test_reconcile_enqueues_what_the_queue_forgot(thread: Thread, alice: User) -> None:
    run = runs.send_message(
        thread, alice, "hello"
    )  # its commit, and so its wake-up, never comes in this test
    assert runs.reconcile().enqueued == 0  # too young
    Run.objects.filter(pk=run.pk).update(created_at="2020-01-01T00:00Z")

    assert runs.reconcile().enqueued == 1
    assert runs.reconcile().enqueued == 0  # it is in the queue now
