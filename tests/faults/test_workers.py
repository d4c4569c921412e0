"""Workers killed, frozen and poisoned."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import pytest
from assistants.shop.models import Refund
from runtime import events
from runtime.models import Message, Run, RunStatus, ToolCall, ToolState
from runtime.redis_client import redis_client

from tests.faults.lab import Lab
from tests.support.processes import until

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]


@pytest.mark.fault("W1 killed after the effect")
def test_a_refund_whose_worker_dies_after_it_happens_once(lab: Lab) -> None:
    kill_in_refund(lab, "after_effect:2")
    with lab.worker():
        lab.settle()

    assert Refund.objects.count() == 1
    assert Run.objects.latest("created_at").status == RunStatus.SUCCESS


@pytest.mark.fault("W1 killed after the effect")
def test_a_ring_whose_worker_dies_after_it_waits_for_a_person(lab: Lab) -> None:
    with lab.worker() as doomed:
        lab.say('call ring with {"key": "a", "after": 60}')
        until(lab.rings)
        lab.strike()
        doomed.kill()
    with lab.worker():
        lab.settle()

    assert ToolCall.objects.get().state == ToolState.UNKNOWN
    assert lab.rings() == ["a"]


@pytest.mark.fault("W2 killed before the effect")
@pytest.mark.parametrize("point", ["before_permit:3", "before_effect:2"])
def test_a_refund_whose_worker_dies_before_it_happens_once(lab: Lab, point: str) -> None:
    kill_in_refund(lab, point)
    with lab.worker():
        lab.settle()

    assert Refund.objects.count() == 1
    assert Run.objects.latest("created_at").status == RunStatus.SUCCESS


def kill_in_refund(lab: Lab, point: str) -> None:
    """The first pass of each point is the look-up's, and before its permit a refund passes once to ask for it."""
    with lab.worker(COUNTERSIGN_TESTPOINT=point) as doomed:
        lab.approve(lab.ask(f"Refund order {lab.order()}"))
        until(doomed.has_died)
        lab.strike()


@pytest.mark.fault("W3 killed in mid stream")
def test_an_answer_cut_in_the_middle_is_said_once_and_whole(lab: Lab) -> None:
    model = "demo-model+tokens=60,delay=0.02"
    with lab.worker(OPENAI_MODEL=model) as doomed:
        run = lab.say("go")
        until(lambda: redis_client().xlen(events.log_key(run.thread_id)) > lab.random.randrange(3, 20))
        lab.strike()
        doomed.kill()
    with lab.worker(OPENAI_MODEL=model):
        lab.settle()

    assert Message.objects.get(role="ai").content == " ".join(["token"] * 60)


@pytest.mark.fault("W6 frozen past its lease")
def test_a_frozen_worker_writes_nothing_after_another_took_over(lab: Lab) -> None:
    with lab.worker(COUNTERSIGN_TESTPOINT="before_effect:2:SIGSTOP") as frozen:
        call = lab.approve(lab.ask(f"Refund order {lab.order()}"))
        resume = call.thread.runs.latest("created_at")
        until(lambda: ToolCall.objects.filter(state=ToolState.RUNNING).exists())
        lab.strike()
        with lab.worker():
            lab.settle()
            ended = Run.objects.get(pk=resume.pk)
            said = list(Message.objects.values_list("pk", "content"))
            frozen.send(signal.SIGCONT)
            time.sleep(3)  # time for it to do all the harm it can
            lab.settle()

    assert Refund.objects.count() == 1
    assert Run.objects.get(pk=resume.pk).ended_at == ended.ended_at
    assert list(Message.objects.values_list("pk", "content")) == said
    assert ToolCall.objects.get(pk=call.pk).state == ToolState.DONE


@pytest.mark.fault("W4 killed between two writes of a checkpoint")
@pytest.mark.rounds(0.15)
def test_a_worker_killed_between_two_writes_of_a_checkpoint_repeats_nothing(lab: Lab) -> None:
    place = lab.random.choice(["before_put", "after_put", "before_put_writes", "after_put_writes"])
    point = f"{place}:{lab.random.randint(1, 7)}"
    slow = lab.random.choice(["0", "0.2"])  # seconds by which what a task wrote lags behind
    print(point, slow)
    with lab.worker(COUNTERSIGN_TESTPOINT=point, LAB_SLOW_WRITES=slow) as doomed:
        run = lab.say('call ring with {"key": "a"} and look up order ' + str(lab.order()))
        until(lambda: doomed.has_died() or Run.objects.get(pk=run.pk).status == RunStatus.SUCCESS)
        lab.strike()
        doomed.kill()
    with lab.worker():
        lab.settle()

    assert lab.rings() == ["a"]
    assert Message.objects.filter(role="ai").count() == 1


@pytest.mark.fault("W4 killed between the model's answer and its checkpoint")
@pytest.mark.parametrize("checkpoint", [2, 3, 4])
def test_calls_whose_checkpoint_was_not_written_are_made(lab: Lab, checkpoint: int) -> None:
    with lab.worker(COUNTERSIGN_TESTPOINT=f"before_put:{checkpoint}") as doomed:
        lab.say('call ring with {"key": "a"}')
        until(doomed.has_died)
        lab.strike()
    with lab.worker():
        lab.settle()

    assert lab.rings() == ["a"]
    assert Message.objects.filter(role="ai").count() == 1


@pytest.mark.fault("W4 killed between a question and the end of its run")
@pytest.mark.parametrize("is_decided", [False, True])
def test_a_turn_killed_right_after_it_asked_waits_for_the_answer(lab: Lab, is_decided: bool) -> None:
    with lab.worker(LAB_SLOW_WRITES="1", COUNTERSIGN_TESTPOINT="never") as doomed:
        run = lab.say(f"Refund order {lab.order()}")
        until(run.thread.tool_calls.filter(state=ToolState.WAITING).exists)
        assert Run.objects.get(pk=run.pk).status == RunStatus.RUNNING
        lab.strike()
        doomed.kill()
    if is_decided:
        lab.approve_all()
    with lab.worker():
        lab.settle()
        lab.approve_all()
        lab.settle()

    assert Refund.objects.count() == 1
    assert run.thread.messages.filter(role="human").count() == 1


@pytest.mark.fault("W8 tool hangs")
def test_a_tool_that_hangs_is_given_up_in_time(lab: Lab) -> None:
    with lab.worker(COUNTERSIGN_TOOL_TIME_LIMIT="1"):
        harmless = lab.say('call wait with {"seconds": 600}')
        risky = lab.say('call ring with {"key": "a", "after": 600}')
        until(lab.rings)
        lab.strike()
        lab.settle(within=5)

    assert states(harmless) == [ToolState.FAILED]
    assert states(risky) == [ToolState.UNKNOWN]


def states(run: Run) -> list[str]:
    return list(run.thread.tool_calls.values_list("state", flat=True))


@pytest.mark.fault("W9 poison run")
def test_a_run_that_kills_every_worker_is_given_up_and_takes_nobody_along(lab: Lab) -> None:
    neighbours = [lab.say('call wait with {"seconds": 1}') for _ in range(3)]
    poison = lab.say("call crash with {}")
    lab.strike()
    for _ in range(2):
        with lab.worker() as worker:
            until(worker.has_died, seconds=30)
    with lab.worker() as worker:  # the last attempts are made in processes of their own
        lab.reach(lab.say("hello"), RunStatus.SUCCESS)
        lab.settle(allowed=(RunStatus.SUCCESS, RunStatus.ERROR))
        assert not worker.has_died()

    poison.refresh_from_db()
    assert (poison.attempt, poison.status, poison.error_type) == (3, RunStatus.ERROR, "WorkerDied")
    for run in neighbours:
        run.refresh_from_db()
        assert run.status == RunStatus.SUCCESS


@pytest.mark.fault("O1 SIGTERM under the last attempt")
def test_a_last_attempt_is_handed_back_by_a_worker_that_stops(lab: Lab) -> None:
    run = lab.say('call wait with {"seconds": 7}')
    for attempt in (1, 2):
        with lab.worker():
            until(Run.objects.filter(pk=run.pk, attempt=attempt).exists)
    with lab.worker() as worker:
        until(Run.objects.filter(pk=run.pk, worker__endswith="-alone", status=RunStatus.RUNNING).exists)
        lab.strike()
        worker.send(signal.SIGTERM)
        until(worker.has_died)
    run.refresh_from_db()
    assert (run.status, run.drains) == (RunStatus.PENDING, 1)
    with lab.worker():
        lab.settle()


@pytest.mark.fault("the only worker killed under 50 runs")
def test_fifty_runs_of_a_killed_worker_end_soon_after_another_starts(lab: Lab) -> None:
    with lab.worker(OPENAI_MODEL="demo-model+delay=0.005") as doomed:
        lab.begin(50)
        doomed.kill()
    with lab.worker(OPENAI_MODEL="demo-model+delay=0.005"):
        lab.settle(within=60)  # 15 s on two idle cores


@pytest.mark.fault("random kills of two workers")
@pytest.mark.rounds(1.0)
def test_kills_at_random_lose_nothing(lab: Lab) -> None:
    """At most two: a run whose worker died three times is given up, as it should be."""
    lab.load(8)
    env = {"OPENAI_MODEL": "demo-model+delay=0.005"}
    with ExitStack() as stack:
        workers = [stack.enter_context(lab.worker(**env)) for _ in range(2)]
        for _ in range(lab.random.randint(1, 2)):
            time.sleep(lab.random.uniform(0.5, 4))  # the kill may come anywhere
            lab.approve_all()
            lab.strike()
            workers.pop(lab.random.randrange(2)).kill()
            workers.append(stack.enter_context(lab.worker(**env)))
        lab.settle(within=60)
        while lab.approve_all():
            lab.settle(within=60)
