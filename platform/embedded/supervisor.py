"""Starts processes in groups, starts again what crashes, and stops all of it in reverse order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from embedded.exceptions import EmbeddedError
from embedded.process import Process

WATCH_INTERVAL = 0.2  # seconds between two looks
BACK_OFF = 0.5  # seconds before the first restart; doubles
BACK_OFF_MAX = 30.0  # seconds
STEADY_AFTER = 60.0  # seconds of running after which a crash counts as the first again


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP came. Not an Exception: nothing on the way may take it for an error."""


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Inside, the first signal that asks for an end raises Stopped in the main thread."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asks to stay
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, _raise_stopped) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped


class Watched:
    """A process and its record of crashes."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.started_at = 0.0
        self.restart_at: float | None = None
        self.delay = BACK_OFF

    def start(self) -> None:
        self.restart_at = None
        self.started_at = time.monotonic()
        self.process.start()

    def plan_restart(self) -> float:
        """Seconds until it is started again."""
        now = time.monotonic()
        if now - self.started_at > STEADY_AFTER:
            self.delay = BACK_OFF
        wait, self.delay = self.delay, min(self.delay * 2, BACK_OFF_MAX)
        self.restart_at = now + wait
        return wait


class Supervisor:
    """Groups of processes: started together, each group after the one before it, stopped in reverse."""

    def __init__(self, say: Callable[[str], None] = print) -> None:
        self._say = say
        self._groups: list[list[Watched]] = []

    def start(self, *processes: Process, stops_last: bool = False) -> None:
        """Start one group at once; `wait_ready` waits for it. It stops before all that were started earlier."""
        self._groups.insert(0 if stops_last else len(self._groups), [])
        self._begin(self._groups[0 if stops_last else -1], processes)

    def join(self, *processes: Process) -> None:
        """Start these in the group that stops first, at once with the others in it."""
        self._begin(self._groups[-1], processes)

    def wait_ready(self, *processes: Process) -> None:
        """Return when each of these, or of all, is ready. DidNotStart names the first that is not."""
        for process in processes or [watched.process for watched in self._all()]:
            process.wait_ready()

    def check_running(self) -> None:
        """DidNotStart for the first process that has ended."""
        for watched in self._all():
            if not watched.process.is_running:
                raise watched.process.failure()

    def watch(self) -> None:
        """Keep everything running, until Stopped."""
        while True:
            self.look()
            time.sleep(WATCH_INTERVAL)

    def look(self) -> None:
        """Note each crash in one line, and start again what has waited long enough."""
        for watched in self._all():
            if watched.restart_at is not None:
                self._restart_when_due(watched)
            elif not watched.process.is_running:
                self._note_crash(watched)

    def stop(self) -> None:
        """Stop all, last group first, each group within its longest bound. A second Ctrl-C kills the rest."""
        _ignore_repeats()
        try:
            for group in reversed(self._groups):
                _stop_group([watched.process for watched in group])
        except (Stopped, KeyboardInterrupt):
            self._say("Killing what is left.")
        finally:
            for watched in self._all():
                watched.process.kill()

    def _begin(self, group: list[Watched], processes: Iterable[Process]) -> None:
        for process in processes:
            group.append(Watched(process))
            group[-1].start()

    def _all(self) -> list[Watched]:
        return [watched for group in self._groups for watched in group]

    def _note_crash(self, watched: Watched) -> None:
        process = watched.process
        wait = watched.plan_restart()
        self._say(
            f"{process.program.name} ended ({_how(process.exit_code)}); starting it again in {wait:g} s. "
            f"Log: {process.program.log}"
        )

    def _restart_when_due(self, watched: Watched) -> None:
        if watched.restart_at is None or time.monotonic() < watched.restart_at:
            return
        try:
            watched.start()
        except (OSError, EmbeddedError) as error:
            wait = watched.plan_restart()
            self._say(
                f"{watched.process.program.name} can't be started ({error}); trying again in {wait:g} s."
            )


def _stop_group(processes: list[Process]) -> None:
    for process in reversed(processes):
        process.ask_to_stop()
    deadline = time.monotonic() + max((process.program.stop_within for process in processes), default=0)
    for process in processes:
        process.wait_stopped(deadline)
        process.kill()


def _ignore_repeats() -> None:
    # `make` passes on a SIGTERM that the whole group got already: the second one is no new wish.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
