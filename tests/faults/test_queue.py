"""What the queue loses, delivers again, or is never told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from accounts import roles
from accounts.models import User
from django.db import connections
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.exceptions import QueueFull, RuntimeRefusal, TooManyRuns
from runtime.models import Message, Run, RunStatus, Thread, ToolState

from tests.faults.lab import Lab
from tests.support.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

SAY = """
from accounts.models import User
from runtime import runs
from runtime.models import Thread
runs.send_message(Thread.objects.get(pk="{thread}"), User.objects.get(username="alice"), "hello")
"""
DECIDE = """
from accounts.models import User
from runtime import decisions
decisions.decide(User.objects.get(username="bob"), "{call}", {{"type": "approve"}})
"""


@pytest.mark.fault("Q1 killed between commit and enqueue")
def test_a_message_whose_process_died_before_the_enqueue_is_answered(lab: Lab) -> None:
    thread = lab.thread()
    run_doomed(lab, SAY.format(thread=thread.pk))
    run = thread.runs.get()
    assert run.status == RunStatus.PENDING
    with lab.worker():
        lab.strike()
        lab.settle()

    assert thread.messages.filter(role="ai").count() == 1


@pytest.mark.fault("H9 killed between decision and resume")
def test_a_decision_whose_process_died_before_the_enqueue_is_carried_out(lab: Lab) -> None:
    with lab.worker():
        call = lab.ask(f"Refund order {lab.order()}")
        run_doomed(lab, DECIDE.format(call=call.pk))
        lab.strike()
        lab.settle()

    call.refresh_from_db()
    assert call.state == ToolState.DONE


def run_doomed(lab: Lab, code: str) -> None:
    """Runs `code` in a process that is killed once its transaction is committed, before Redis hears of it."""
    with lab.start("shell", "-v0", "-c", code, COUNTERSIGN_TESTPOINT="before_enqueue") as doomed:
        until(doomed.has_died, seconds=30)
        assert "Traceback" not in doomed.log.read_text()


@pytest.mark.fault("Q2 one run delivered ten times")
def test_a_run_delivered_ten_times_is_performed_once(lab: Lab) -> None:
    with lab.worker(), lab.worker(), lab.worker():
        lab.reach(lab.say("hello"), RunStatus.SUCCESS)
        run = lab.say('call ring with {"key": "a", "before": 0.5}')
        for copy in range(10):
            runs.queue().enqueue(runs.EXECUTE_RUN, str(run.pk), job_id=f"copy-{copy}")
        lab.strike()
        lab.settle()
        until(lambda: not runs.queue().job_ids)

    run.refresh_from_db()
    assert (run.attempt, run.status) == (1, RunStatus.SUCCESS)
    assert lab.rings() == ["a"]


@pytest.mark.fault("Q3 job lost from the queue")
def test_a_run_whose_job_is_gone_starts_soon(lab: Lab) -> None:
    run = lab.say("hello")
    runs.queue().empty()
    with lab.worker():
        lab.strike()
        lab.settle()

    assert run.thread.messages.filter(role="ai").count() == 1


@pytest.mark.fault("Q3 job in a dead worker's hands")
def test_a_run_that_a_worker_took_before_it_died_starts_soon(lab: Lab) -> None:
    run = lab.say("hello")
    queue = runs.queue()
    queue.connection.lmove(queue.key, queue.intermediate_queue_key)
    with lab.worker():
        lab.strike()
        lab.settle()

    assert run.thread.messages.filter(role="ai").count() == 1


@pytest.mark.fault("Q4 flood")
def test_in_a_flood_what_is_accepted_is_answered(
    lab: Lab, person: Callable[..., User], settings: Settings
) -> None:
    settings.USER_RUN_LIMIT, settings.QUEUE_LIMIT = 8, 40
    people = [person(f"person{number}", roles.CHAT_USERS) for number in range(10)]

    def shout(user: User) -> list[type[RuntimeRefusal] | None]:
        try:
            return [refusal_of(lab, user) for _ in range(20)]
        finally:
            connections.close_all()

    few = {"COUNTERSIGN_WORKER_CONCURRENCY": "5"}
    with lab.worker(**few), lab.worker(**few), ThreadPoolExecutor(len(people)) as threads:
        lab.strike()
        answers = [shout(people[0]), *threads.map(shout, people[1:])]
        lab.settle()

    counts = Counter(answer for each in answers for answer in each)
    assert set(counts) == {None, TooManyRuns, QueueFull}
    assert Run.objects.count() == Message.objects.filter(role="human").count() == counts[None]
    assert Thread.objects.filter(messages__role="ai").distinct().count() == counts[None]


def refusal_of(lab: Lab, user: User) -> type[RuntimeRefusal] | None:
    """Why this person's message was not taken; None when it was."""
    thread = Thread.objects.create(owner=user, assistant=lab.assistant)
    try:
        runs.send_message(thread, user, 'call wait with {"seconds": 0.3}')
    except RuntimeRefusal as refusal:
        return type(refusal)
    return None
