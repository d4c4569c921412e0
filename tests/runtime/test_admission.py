"""What a new message meets: limits, a turn under way, a tool call that waits."""

from __future__ import annotations

import pytest
from accounts.models import User
from django.test import Client
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.exceptions import QueueFull, ThreadBusy, ThreadWaiting, TooManyRuns
from runtime.models import Assistant, Run, RunStatus, Thread, ToolCall, ToolState

from apps.approvals.models import ApprovalRequest
from tests.support.calls import proposed_by
from tests.support.decided import decided

pytestmark = pytest.mark.django_db


def begin(thread: Thread, text: str = "one") -> Run:
    run = Run.claim(runs.send_message(thread, thread.owner, text).pk, "w")
    assert run is not None
    return run


def waits(thread: Thread, state: str = ToolState.WAITING) -> ToolCall:
    """The thread's turn has ended in a call that waits for a person."""
    run = begin(thread)
    call = proposed_by(run, "refund")
    for step in [ToolState.APPROVED, ToolState.RUNNING, state] if state == ToolState.UNKNOWN else [state]:
        assert call.advance(step)
    run.finish(RunStatus.WAITING)
    return call


def test_interrupt_stops_what_runs_and_what_queues(thread: Thread, alice: User) -> None:
    at_work, queued = begin(thread), runs.send_message(thread, alice, "two")

    new = runs.send_message(thread, alice, "three", when_busy="interrupt")

    at_work.refresh_from_db()
    queued.refresh_from_db()
    assert at_work.cancel_requested_at is not None
    assert queued.status == RunStatus.CANCELLED
    assert Run.claim(new.pk, "w") is None  # until the worker has let go of the first
    at_work.finish(RunStatus.CANCELLED)
    assert Run.claim(new.pk, "w") is not None


def test_rollback_remembers_whose_place_it_takes(thread: Thread, alice: User) -> None:
    at_work = begin(thread)
    runs.send_message(thread, alice, "two")

    assert runs.send_message(thread, alice, "three", when_busy="rollback").replaces == at_work


def test_reject_leaves_everything_as_it_was(thread: Thread, alice: User) -> None:
    at_work = begin(thread)

    with pytest.raises(ThreadBusy):
        runs.send_message(thread, alice, "two", when_busy="reject")

    at_work.refresh_from_db()
    assert at_work.cancel_requested_at is None
    assert thread.messages.count() == 1


def test_a_message_can_wait_for_the_decision(thread: Thread, alice: User, settings: Settings) -> None:
    settings.WHEN_WAITING = "queue"
    call = waits(thread)

    queued = runs.send_message(thread, alice, "two")

    call.refresh_from_db()
    assert call.state == ToolState.WAITING
    assert Run.claim(queued.pk, "w") is None


def test_a_message_can_withdraw_what_waits(thread: Thread, alice: User, settings: Settings) -> None:
    settings.WHEN_WAITING = "withdraw"
    call = waits(thread)

    new = runs.send_message(thread, alice, "two")

    call.refresh_from_db()
    assert call.state == ToolState.SUPERSEDED
    assert ApprovalRequest.objects.get().status == "superseded"
    assert Run.claim(new.pk, "w") is not None


def test_a_call_that_was_decided_meanwhile_is_resumed_first(
    thread: Thread, alice: User, settings: Settings
) -> None:
    settings.WHEN_WAITING = "withdraw"
    first = waits(thread)
    second = proposed_by(first.run, "mail")
    second.advance(ToolState.WAITING)
    assert decided(first, ToolState.APPROVED)
    resumed = runs.resume(first)

    new = runs.send_message(thread, alice, "two")

    assert Run.claim(new.pk, "w") is None
    assert Run.claim(resumed.pk, "w") is not None


def test_what_a_cut_off_call_did_is_found_out_before_anything_else(
    thread: Thread, alice: User, settings: Settings
) -> None:
    settings.WHEN_WAITING = "withdraw"
    waits(thread, ToolState.UNKNOWN)

    with pytest.raises(ThreadWaiting):
        runs.send_message(thread, alice, "two")


def test_one_person_can_have_only_so_many_turns_under_way(
    assistant: Assistant, alice: User, carol: User, settings: Settings
) -> None:
    settings.USER_RUN_LIMIT = 2
    threads = [Thread.objects.create(owner=alice, assistant=assistant) for _ in range(3)]
    for thread in threads[:2]:
        runs.send_message(thread, alice, "hello")

    with pytest.raises(TooManyRuns):
        runs.send_message(threads[2], alice, "hello")
    runs.send_message(Thread.objects.create(owner=carol, assistant=assistant), carol, "hello")
    assert threads[2].messages.count() == 0


def test_a_full_queue_says_so(assistant: Assistant, alice: User, carol: User, settings: Settings) -> None:
    settings.QUEUE_LIMIT = 1
    thread = Thread.objects.create(owner=alice, assistant=assistant)
    runs.send_message(thread, alice, "hello")

    with pytest.raises(QueueFull):
        runs.send_message(Thread.objects.create(owner=carol, assistant=assistant), carol, "hello")


def test_messages_that_wait_for_their_own_thread_do_not_fill_the_queue(
    thread: Thread, assistant: Assistant, alice: User, carol: User, settings: Settings
) -> None:
    settings.QUEUE_LIMIT = 2
    begin(thread)
    for text in ("two", "three", "four"):
        runs.send_message(thread, alice, text)

    runs.send_message(Thread.objects.create(owner=carol, assistant=assistant), carol, "hello")


def test_a_decision_is_taken_however_full_it_is(thread: Thread, alice: User, settings: Settings) -> None:
    call = waits(thread)
    assert decided(call, ToolState.APPROVED)
    settings.USER_RUN_LIMIT = settings.QUEUE_LIMIT = 0

    assert runs.resume(call).status == RunStatus.PENDING


@pytest.mark.parametrize(("setting", "status"), [("USER_RUN_LIMIT", 429), ("QUEUE_LIMIT", 503)])
def test_the_page_says_when_to_come_back(
    thread: Thread, alice: User, signed_in: object, settings: Settings, setting: str, status: int
) -> None:
    setattr(settings, setting, 0)
    client: Client = signed_in(alice)  # type: ignore[operator]

    answer = client.post(
        f"/threads/{thread.pk}/messages/", {"text": "keep me"}, headers={"HX-Request": "true"}
    )

    assert answer.status_code == status
    assert int(answer["Retry-After"]) > 0
    assert "keep me" in answer.content.decode()
