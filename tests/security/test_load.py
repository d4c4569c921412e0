"""Attacks 91 to 100: more than one person's share."""

from __future__ import annotations

from collections import Counter

import pytest
from runtime import events
from runtime.redis_client import redis_client

from tests.security.registry import attack
from tests.security.without import patched
from tests.support.programs import Program, key_of

pytestmark = pytest.mark.django_db


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
