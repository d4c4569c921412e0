"""What a test of a fault stands on: real workers to kill, real effects to count, and an account of what was lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from uuid import uuid4

from accounts.models import User
from assistants.shop.models import Order, Refund
from django.db import InterfaceError, OperationalError, connections
from runtime import decisions, invariants, runs
from runtime.models import ACTIVE, Assistant, Run, RunStatus, Thread, ToolCall, ToolState

from tests.support.lab_graph import BELL
from tests.support.nursery import Child, Nursery
from tests.support.processes import environment, until

WELL = (RunStatus.SUCCESS, RunStatus.WAITING)


@dataclass
class Account:
    """What one round cost."""

    fault: str
    runs: int = 0
    lost_runs: int = 0
    lost_messages: int = 0
    double_effects: int = 0
    stuck: int = 0
    recovery: float | None = None
    """Seconds from the fault until nothing was under way any more."""
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass
class Lab:
    """One round: its servers are the test run's, its people alice, who asks, and bob, who decides."""

    random: Random
    nursery: Nursery
    home: Path
    model_url: str
    assistant: Assistant
    alice: User
    bob: User
    account: Account
    _struck_at: float = 0.0

    @contextmanager
    def worker(self, **env: str) -> Iterator[Child]:
        """A worker with a lease short enough to wait for; killed at the end."""
        with self.start("worker", **env) as worker:
            yield worker
        time.sleep(0.1)  # until Redis has noticed: it would still hand a job to the dead

    def start(self, *command: str, **env: str) -> Child:
        return self.nursery.start(
            *command,
            env=environment(**self.env(**env)),
            log=self.home / f"{command[0]}-{uuid4().hex[:6]}.log",
        )

    def env(self, **env: str) -> dict[str, str]:
        """What a process of this round has in its environment."""
        quick = {
            "OPENAI_BASE_URL": self.model_url,
            "OPENAI_MODEL": "demo-model",
            "OPENAI_API_KEY": f"lab-{uuid4()}",
            "COUNTERSIGN_GRAPHS": "lab=tests.support.lab_graph:build",
            "COUNTERSIGN_HOME": str(self.home),
            "COUNTERSIGN_RUN_LEASE": "4",
            "COUNTERSIGN_RUN_HEARTBEAT": "0.5",
            "COUNTERSIGN_TESTPOINT": "",
        }
        return {**quick, **env}

    # what people do

    def thread(self) -> Thread:
        return Thread.objects.create(owner=self.alice, assistant=self.assistant)

    def order(self) -> Order:
        number = 1000 + Order.objects.count()
        return Order.objects.create(number=number, customer="Ada", email="ada@example.com", total="59.90")

    def say(self, text: str, thread: Thread | None = None) -> Run:
        return runs.send_message(thread or self.thread(), self.alice, text)

    def ask(self, text: str) -> ToolCall:
        """The call that a new thread comes to wait for; a worker is there."""
        run = self.say(text)
        self.reach(run, RunStatus.WAITING)
        return run.thread.tool_calls.get(state=ToolState.WAITING)

    def approve(self, call: ToolCall) -> ToolCall:
        return decisions.decide(self.bob, call.pk, {"type": "approve"})

    def load(self, size: int) -> list[Run]:
        """Turns of every kind, some seconds long: answers that stream, tools that run, refunds that wait."""
        return [self.say(kind) for kind, _ in zip(self._kinds(), range(size), strict=False)]

    def begin(self, size: int) -> None:
        """Brings that many turns into their middle; the fault may strike."""
        self.load(size)
        until(lambda: not Run.objects.filter(status=RunStatus.PENDING).exists(), seconds=30)
        time.sleep(self.random.uniform(0, 1))  # anywhere in the turns
        self.strike()

    def _kinds(self) -> Iterator[str]:
        while True:
            yield "Tell me a long story"
            yield f'call ring with {{"key": "{uuid4().hex}", "before": 1, "after": 1}}'
            yield f"Refund order {self.order()}"
            yield 'call wait with {"seconds": 2} and tell me the time'

    def approve_all(self) -> int:
        """Approves whatever waits; how many that were."""
        waiting = list(ToolCall.objects.filter(state=ToolState.WAITING))
        for call in waiting:
            self.approve(call)
        return len(waiting)

    # what a test waits for

    def reach(self, run: Run, *statuses: str, seconds: float = 45.0) -> None:
        until(lambda: Run.objects.get(pk=run.pk).status in statuses, seconds=seconds)

    def reach_state(self, call: ToolCall, *states: str, seconds: float = 45.0) -> None:
        until(lambda: ToolCall.objects.get(pk=call.pk).state in states, seconds=seconds)

    def strike(self) -> None:
        """The fault is about to happen: recovery counts from here."""
        self._struck_at = time.monotonic()

    def settle(self, *, within: float = 60.0, allowed: tuple[str, ...] = WELL) -> None:
        """Waits until nothing is under way, then draws up the account. Fails when anything was lost or doubled."""
        deadline = time.monotonic() + within
        while (live := _live()) != 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._struck_at:
            self.account.recovery = time.monotonic() - self._struck_at
        self._draw_up(live or 0, allowed)
        assert not self.account.problems, "\n".join([*self.account.problems, f"logs: {self.home}"])

    def _draw_up(self, live: int, allowed: tuple[str, ...]) -> None:
        account = self.account
        account.runs = Run.objects.count()
        ended = Run.objects.exclude(status__in=[*allowed, *ACTIVE])
        account.problems += [f"run {run.pk} ended as {run.status}: {run.error}" for run in ended]
        account.lost_runs = ended.count()
        violations = invariants.violations(settled=True)
        account.problems += [str(violation) for violation in violations]
        account.lost_messages = sum(violation.name == "message-lost" for violation in violations)
        account.stuck = live + len(violations) - account.lost_messages
        doubled = self.doubled()
        account.problems += [f"{what} happened {count} times" for what, count in doubled.items()]
        account.double_effects = len(doubled)

    def doubled(self) -> dict[str, int]:
        """Effects that happened more than once: every order is refunded, every bell rung, every mail sent once."""
        effects = Counter(
            f"refund of {number}" for number in Refund.objects.values_list("order__number", flat=True)
        )
        effects += Counter(f"ring of {key}" for key in self.rings())
        effects += Counter(f"mail to {to}" for to in self.mails())
        return {what: count for what, count in effects.items() if count > 1}

    def rings(self) -> list[str]:
        bell = self.home / BELL
        return bell.read_text().split() if bell.exists() else []

    def mails(self) -> list[str]:
        lines = [line for mail in (self.home / "mail").glob("*") for line in mail.read_text().splitlines()]
        return [line.removeprefix("To: ") for line in lines if line.startswith("To: ")]


def _live() -> int | None:
    """How many runs are under way; None while the database is away."""
    try:
        return Run.objects.filter(status__in=ACTIVE).count()
    except (OperationalError, InterfaceError):
        connections.close_all()
        return None
