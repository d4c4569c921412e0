"""Attacks 91 to 100: more than one person's share."""

from __future__ import annotations

import io
import logging
import re
import time
from collections import Counter
from decimal import Decimal
from uuid import uuid4

import pytest
from django.test import Client
from runtime import budgets, events, runs, secret_kinds
from runtime.models import Budget, ModelPrice, Run, RunStatus, Spending, Thread
from runtime.redis_client import redis_client
from runtime.secret_kinds import Kind

from apps.observability.logs import JSONFormatter
from tests.security.registry import attack
from tests.security.without import patched
from tests.support.programs import Program, key_of

pytestmark = pytest.mark.django_db

SLOW = "demo-model+delay=0.02"  # twenty calls overlap


@attack(
    91,
    "one person starts turn after turn",
    "429 with Retry-After from their limit on",
    control="a limit of turns under way for each person",
    without=patched("runtime.admission.check_limits", lambda user: None),
    held=({202: 5, 429: 5}, True),
    fallen=({202: 10}, True),
    known_as="LLM10",
)
def test_91_turn_after_turn(alice, assistant, settings):
    settings.USER_RUN_LIMIT = 5
    program = Program(key_of(alice))
    answers = [program.post("/tasks", {"topic": f"{n}"}) for n in range(10)]
    says_when = all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)
    return dict(Counter(answer.status_code for answer in answers)), says_when


BUDGET = Decimal("1.00")
CALL_AT_MOST = Decimal("0.30")


def only_look(run: Run, amount: Decimal) -> budgets.Held | None:
    """What is usual elsewhere: whoever still finds something left may spend it."""
    found = Spending.objects.get(budget__user=None)
    if found.spent >= found.budget.amount:
        raise budgets.used_up(found)
    return budgets.Held(uuid4(), [found.pk], Decimal(0))


@pytest.mark.django_db(transaction=True)
@attack(
    92,
    "a budget of 1.00 is reached by twenty turns at once, whose calls cost up to 0.30 each",
    "the turns end at their next call; overdrawn by no more than one call",
    control="what a call can cost at most is reserved before it, in one conditional UPDATE",
    without=patched("runtime.budgets.reserve", only_look),
    held=lambda outcome: BUDGET / 2 < outcome[0] <= BUDGET + CALL_AT_MOST and outcome[1:] == (0, True),
    fallen=lambda outcome: outcome[0] > BUDGET + CALL_AT_MOST,
    known_as="LLM10",
)
def test_92_a_budget_under_twenty_turns(alice, assistant, engine_on, settings):
    settings.MODEL_MAX_OUTPUT = 100  # the answer has 93
    ModelPrice.objects.create(model=SLOW, input=0, cached_input=0, output=CALL_AT_MOST / 100 * 1_000_000)
    budget = Budget.objects.create(amount=BUDGET)
    Spending.objects.create(budget=budget, begins=budgets.begin_of("day"))
    threads = [Thread.objects.create(owner=alice, assistant=assistant) for _ in range(20)]
    with engine_on(SLOW) as engine:
        turns = [engine.start(str(runs.send_message(thread, alice, "hello").pk)) for thread in threads]
        ends = Counter(turn.result(120) for turn in turns)
    refused = Run.objects.filter(error_type="BudgetUsedUp").count()
    spending = Spending.objects.get()
    all_said_why = ends[RunStatus.SUCCESS] + refused == len(threads)
    return spending.spent, spending.reserved, all_said_why


@attack(
    99,
    "one thread's log grows without end",
    "its oldest events go",
    control="a limit of events for each thread",
    without=patched("runtime.events.APPEND", events.APPEND.replace("'MAXLEN', '~', ARGV[2], ", "")),
    held=lambda length: length <= 300,
    fallen=1000,
    known_as="LLM10",
)
def test_99_a_log_without_end(thread, worker, settings):
    settings.EVENT_LOG_LENGTH = 100
    run = worker.ask()
    redis_client().delete(events.log_key(thread.pk))
    for n in range(1000):
        events.announce(thread.pk, "token", run.pk, {"key": "a", "text": str(n)})
    return redis_client().xlen(events.log_key(thread.pk))


# From each "sk-" of a word on, the rest of the word is looked at.
_SK = re.compile(r"(?<![A-Za-z0-9])sk-(?=[\w-]*\d)[\w-]{16,}")
READS_AGAIN = secret_kinds.Known((Kind("api-key", ("sk-",), _SK),), ("sk-",), ())


@attack(
    95,
    "who is not signed in asks for an address of 30,000 characters, in which a key may begin at each third",
    "a line of the log, in the time that any other address takes",
    control="lines are cut before they are masked, and no pattern reads the same characters again and again",
    without=[
        patched("runtime.secret_kinds._known", lambda: READS_AGAIN),
        patched("apps.observability.logs.LONGEST", 1_000_000),
    ],
    held=lambda outcome: outcome[0] < 30 and outcome[1],
    fallen=lambda outcome: outcome[0] > 100 and outcome[1],
)
def test_95_an_address_that_takes_long_to_mask():
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("django.request")

    def seconds(path: str) -> float:
        begun = time.thread_time()
        assert Client().get(path).status_code == 404
        return time.thread_time() - begun

    logger.addHandler(handler)
    try:
        seconds("/first")
        usual = min(seconds("/" + "abc" * 10_000) for _ in range(3))
        slowest = min(seconds("/" + "sk-" * 10_000) for _ in range(2))
    finally:
        logger.removeHandler(handler)
    return slowest / usual, lines.getvalue().count("Not Found: /") == 6
