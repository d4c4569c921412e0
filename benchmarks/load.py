"""A closed loop of users in a process of their own: each begins a turn, reads it to its end, and begins the next.

No turn is begun after the time is over, and all that were begun are read to their end: nothing is measured that was
cut off, and slow answers count in full. The process is told what to do in one line of JSON on stdin, says "ready",
begins at a second line, prints what it measured in one line, and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Protocol

from benchmarks import stamps
from benchmarks.usage import Meter

TEXT = "Say something."
WARM_UP = 10  # users who take an uncounted turn first
TURN_LIMIT = 180.0  # seconds until a turn counts as lost
WEIGHED = ("web", "worker")
MEMORY_INTERVAL = 2.0  # seconds between two looks at the memory
PAUSE = 0.1  # seconds after an error


class Turn:
    """What one user saw of one answer."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._reader = stamps.Reader()
        self.first: float | None = None
        """Milliseconds from its beginning to its first token."""
        self.ages: list[float] = []
        """Milliseconds that each token travelled."""

    def read(self, text: str) -> None:
        self.ages += self._reader.ages(text)
        if self.ages and self.first is None:
            self.first = 1000 * (time.monotonic() - self._began)

    @property
    def disordered(self) -> int:
        return self._reader.disordered


class User(Protocol):
    async def open(self) -> None:
        """Makes ready for turns; again after an error."""

    async def take(self, turn: Turn) -> None:
        """One turn, read to its end."""


class Users(Protocol):
    """A module with users of one design."""

    LOOP: Callable[[], asyncio.AbstractEventLoop]

    @staticmethod
    def opened(count: int, where: Mapping[str, Any]) -> AbstractAsyncContextManager[Sequence[User]]: ...


@dataclass
class Outcome:
    """What all users saw together."""

    seconds: float
    turns: int
    tokens: int
    first: list[float]
    """First token, milliseconds: median, 95th percentile."""
    added: list[float]
    """Added to a token on its way, milliseconds: median, 95th percentile."""
    errors: dict[str, int]


@dataclass
class Tally:
    tokens: int
    """That each turn has to bring."""
    first: array[float] = field(default_factory=lambda: array("d"))
    ages: array[float] = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, turn: Turn) -> None:
        self.ages.extend(turn.ages)
        if turn.first is not None:
            self.first.append(turn.first)
        if len(turn.ages) != self.tokens:
            self.errors["turn without all its tokens"] += 1
        if turn.disordered:
            self.errors["turn with tokens out of order"] += 1

    def outcome(self, seconds: float) -> Outcome:
        return Outcome(
            seconds=seconds,
            turns=len(self.first),
            tokens=len(self.ages),
            first=percentiles(self.first),
            added=percentiles(self.ages),
            errors=dict(self.errors),
        )


def percentiles(values: Sequence[float]) -> list[float]:
    """Median and 95th percentile."""
    ordered = sorted(values) or [0.0]
    return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95)]


async def loop(users: Sequence[User], tally: Tally, *, until: float) -> None:
    """Every user takes turns until the time is over, and at least one."""
    await asyncio.gather(*(_turns(user, tally, until) for user in users))


async def _turns(user: User, tally: Tally, until: float) -> None:
    is_open = True
    while True:
        try:
            async with asyncio.timeout(TURN_LIMIT):
                if not is_open:
                    await user.open()
                is_open, turn = True, Turn()
                await user.take(turn)
            tally.add(turn)
        except Exception as error:  # whatever it is, it is counted and shown
            is_open = False
            tally.errors[f"{type(error).__name__}: {error}"[:100]] += 1
            await asyncio.sleep(PAUSE)
        if time.monotonic() > until:
            return


async def _process(job: Mapping[str, Any], module: Users) -> None:
    async with module.opened(job["users"], job["where"]) as users:
        await _open(users)
        await loop(users[:WARM_UP], Tally(job["tokens"]), until=time.monotonic())
        print("ready", flush=True)
        await _line()
        tally, began = Tally(job["tokens"]), time.monotonic()
        await loop(users, tally, until=began + job["seconds"])
        print(json.dumps(asdict(tally.outcome(time.monotonic() - began))), flush=True)
        await _line()


async def _open(users: Sequence[User]) -> None:
    """A few at a time: what a page costs is not what is measured here."""
    turnstile = asyncio.Semaphore(8)

    async def enter(user: User) -> None:
        async with turnstile:
            await user.open()

    await asyncio.gather(*map(enter, users))


async def _line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


@dataclass(frozen=True)
class Target:
    """One design, up and running."""

    name: str
    users: str
    """The module with its users."""
    where: Mapping[str, Any]
    """What they have to know."""
    groups: Mapping[str, int]
    """Its processes by group: name -> pid of the first of a tree."""
    load_group: str = "load"
    """Where the users' own process counts: in the floor it is the worker too."""


@dataclass(frozen=True)
class Measured:
    target: str
    users: int
    outcome: Outcome
    cpu: Mapping[str, float]
    """Seconds by group."""
    others: float
    """CPU seconds that the machine spent on anything else: how disturbed the measurement was."""
    memory: Mapping[str, int]
    """Bytes by group."""


class LoadDied(Exception):
    """The users' process failed; why is on stderr."""

    def __str__(self) -> str:
        return str(self.__doc__)


def measure(target: Target, *, users: int, seconds: float, tokens: int) -> Measured:
    """Raises LoadDied."""
    job = {"users": users, "seconds": seconds, "tokens": tokens, "where": dict(target.where)}
    argv = [sys.executable, "-m", "benchmarks.load", target.users]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the load has no input and output")
        print(json.dumps(job), file=process.stdin, flush=True)
        if process.stdout.readline().strip() != "ready":
            raise LoadDied
        meter = Meter({**target.groups, target.load_group: process.pid}, weighed=WEIGHED)
        print("go", file=process.stdin, flush=True)
        with _looking(meter):
            line = process.stdout.readline()
        cpu, others = meter.cpu(), meter.others()
        process.stdin.close()
        has_failed = process.wait() != 0
    if not line or has_failed:
        raise LoadDied
    return Measured(target.name, users, Outcome(**json.loads(line)), cpu, others, meter.memory())


class _looking:
    """Looks at the memory from time to time, in a thread."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(MEMORY_INTERVAL):
            self._meter.look()


def main() -> None:
    module: Any = import_module(sys.argv[1])
    job = json.loads(sys.stdin.readline())
    with asyncio.Runner(loop_factory=module.LOOP) as runner:
        runner.run(_process(job, module))


if __name__ == "__main__":
    main()
