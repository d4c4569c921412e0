from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from embedded import supervisor as module
from embedded.exceptions import DidNotStart
from embedded.process import Process, is_alive
from embedded.supervisor import Stopped, Supervisor, stopping_on_signals

from tests.support.processes import line_of

Shell = Callable[..., Process]
Until = Callable[[Callable[[], bool]], None]

STAY = "while :; do sleep 0.05; done"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A shell can't trap what its parent ignores, as a supervisor that has stopped does."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_starts_a_crashed_process_again_and_says_so(shell: Shell, until: Until) -> None:
    said: list[str] = []
    supervisor = Supervisor(say=said.append)
    worker = shell(STAY, name="worker")
    supervisor.start(worker)
    first = worker.pid
    os.kill(first, signal.SIGKILL)

    def is_back() -> bool:
        supervisor.look()
        return worker.is_running and worker.pid != first

    until(is_back)
    assert said == [f"worker ended (SIGKILL); starting it again in 0.5 s. Log: {worker.program.log}"]


def test_it_backs_off_from_what_keeps_crashing(
    shell: Shell, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACK_OFF", 0.01)
    said: list[str] = []
    supervisor = Supervisor(say=said.append)
    supervisor.start(shell("exit 3", name="web"))

    def has_crashed_thrice() -> bool:
        supervisor.look()
        return len(said) == 3

    until(has_crashed_thrice)
    assert [line.split(";")[1].split(".  ")[0].split(". Log")[0] for line in said] == [
        " starting it again in 0.01 s",
        " starting it again in 0.02 s",
        " starting it again in 0.04 s",
    ]


def test_it_stops_the_last_group_first(shell: Shell, tmp_path: Path, until: Until) -> None:
    order, ready = tmp_path / "order", tmp_path / "ready"
    supervisor = Supervisor()
    for name in ("database", "web"):
        supervisor.start(
            shell(f"trap 'echo {name} >> {order}; exit' TERM; echo >> {ready}; {STAY}", name=name)
        )
    until(lambda: ready.exists() and len(ready.read_text()) == 2)

    supervisor.stop()

    assert order.read_text().split() == ["web", "database"]


def test_servers_that_were_started_later_stop_after_their_programs(
    shell: Shell, tmp_path: Path, until: Until
) -> None:
    order, ready = tmp_path / "order", tmp_path / "ready"
    supervisor = Supervisor()
    for name in ("web", "database"):
        program = shell(f"trap 'echo {name} >> {order}; exit' TERM; echo >> {ready}; {STAY}", name=name)
        supervisor.start(program, stops_last=name == "database")
    until(lambda: ready.exists() and len(ready.read_text()) == 2)

    supervisor.stop()

    assert order.read_text().split() == ["web", "database"]


def test_who_joins_a_group_stops_with_it(shell: Shell, tmp_path: Path, until: Until) -> None:
    order, ready = tmp_path / "order", tmp_path / "ready"
    supervisor = Supervisor()
    scripts = [
        shell(f"trap 'echo {name} >> {order}; exit' TERM; echo >> {ready}; {STAY}", name=name)
        for name in ("database", "web", "worker")
    ]
    supervisor.start(scripts[1])
    supervisor.start(scripts[0], stops_last=True)
    supervisor.join(scripts[2])
    until(lambda: ready.exists() and len(ready.read_text()) == 3)

    supervisor.stop()

    assert sorted(order.read_text().split()[:2]) == ["web", "worker"]


def test_it_waits_for_those_that_are_named(shell: Shell) -> None:
    supervisor = Supervisor()
    supervisor.start(shell(STAY, is_ready=lambda: False, ready_within=0.1))
    server = shell(STAY, name="database")
    supervisor.start(server)

    supervisor.wait_ready(server)


def test_it_kills_what_does_not_stop_and_its_children(shell: Shell, tmp_path: Path, until: Until) -> None:
    grandchild = tmp_path / "pid"
    stubborn = shell(f"trap '' TERM; sleep 60 & echo $! > {grandchild}; {STAY}", stop_within=0.2)
    supervisor = Supervisor()
    supervisor.start(stubborn)
    until(lambda: grandchild.exists() and bool(grandchild.read_text()))

    supervisor.stop()

    assert not stubborn.is_running
    until(lambda: not is_alive(int(grandchild.read_text())))


def test_it_says_why_a_process_did_not_start(shell: Shell) -> None:
    supervisor = Supervisor()
    supervisor.start(shell("echo 'Error: no such queue' >&2; exit 1", name="worker", is_ready=lambda: False))

    with pytest.raises(DidNotStart, match=r"worker did not start: Error: no such queue \(log: "):
        supervisor.wait_ready()


def test_it_waits_no_longer_than_the_deadline(shell: Shell) -> None:
    supervisor = Supervisor()
    supervisor.start(shell(STAY, name="web", is_ready=lambda: False, ready_within=0.1))

    with pytest.raises(DidNotStart, match="web was not ready"):
        supervisor.wait_ready()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_means_stop(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(Stopped), stopping_on_signals():
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def test_nohup_means_stay() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


SUPERVISED = """
import sys
from pathlib import Path
from embedded import paths
from embedded.postgres import Postgres
from embedded.process import Process, Program
from embedded.supervisor import Supervisor
from embedded.valkey import Valkey

home = Path(sys.argv[1])
servers = [Postgres(paths.postgres_dir(home), paths.run_dir(home), fsync=False),
           Valkey(paths.redis_dir(home), paths.run_dir(home))]
for server in servers:
    server.prepare()
stay = Process(Program(name="stay", argv=["sleep", "60"], log=home / "stay.log"))
processes = [*(server.process for server in servers), stay]
supervisor = Supervisor()
supervisor.start(*processes)
supervisor.wait_ready()
print(*(process.pid for process in processes), flush=True)
supervisor.watch()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_supervisor_leaves_no_process(home: Path, until: Until) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    command = [sys.executable, "-c", SUPERVISED, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as supervisor:
        pids = [int(pid) for pid in line_of(supervisor).split()]
        assert len(pids) == 3
        supervisor.kill()

    until(lambda: not any(is_alive(pid) for pid in pids))
    assert "database system is shut down" in (home / "postgres.log").read_text(), "PostgreSQL ended in order"
