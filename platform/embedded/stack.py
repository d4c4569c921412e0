"""The processes of a bare machine: which ones are needed, and how each is run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from embedded import outside, paths, ports
from embedded.address import Address
from embedded.postgres import Postgres
from embedded.process import Process, Program
from embedded.supervisor import Supervisor
from embedded.valkey import Valkey

WORKER_QUEUE = "interactive"
JOBS_QUEUE = "maintenance"  # notifications, webhooks of runs
BATCH_QUEUE = "batch"  # runs that nobody waits for
FOLLOWING = {"notifier", "batches"}  # parts of /health that followers answer for
HEALTHY_WITHIN = 30.0  # seconds until /health is all green
HEALTH_INTERVAL = 0.1  # seconds
WORKER_DRAIN = 2.0  # seconds runs have to end a step when Ctrl-C is pressed; the rest is handed back
WORKER_STOP = 10.0  # seconds for all of a worker's end


@dataclass
class Stack:
    """What `manage.py up` runs on the data folder `home`; its processes keep the descriptor `lock` open."""

    home: Path
    address: Address
    supervisor: Supervisor
    lock: int

    def __post_init__(self) -> None:
        self.has_database = bool(settings.EMBEDDED)
        self.has_redis = paths.redis_url(self.home) == settings.REDIS_URL
        self.has_demo_model = not (settings.OPENAI_BASE_URL or settings.OPENAI_API_KEY)
        self.has_demo_accounts = self.has_database and self.address.is_loopback
        self._model = Address("127.0.0.1", ports.free_port())
        self._gate, self._other_end = os.pipe()

    def begin_programs(self) -> None:
        """Start what a turn needs, while there are no servers yet: it imports for seconds, and waits at the gate."""
        if self.has_demo_model:  # a group of its own: it is stopped after the workers that still talk to it
            self.supervisor.start(Process(self._demo_model()))
        self.supervisor.start(Process(self._web()), Process(self._first_worker()))

    def start_servers(self) -> None:
        """Start the servers that no URL replaces and wait until they answer; look once at the others."""
        servers: list[Postgres | Valkey] = []
        if self.has_redis:
            servers.append(self._valkey())
        if self.has_database:
            servers.append(self._postgres())
        for server in servers:
            server.prepare()
        processes = [server.process for server in servers]
        self.supervisor.start(*processes, stops_last=True)
        if not self.has_redis:
            outside.check_redis()
        if not self.has_database:
            outside.check_database()
        if processes:
            self.supervisor.wait_ready(*processes)

    def open_gate(self) -> None:
        """Let the programs begin, and wait until each answers."""
        os.close(self._other_end)
        self.supervisor.wait_ready()

    def start_followers(self) -> None:
        """Start what the first turn can do without: it would only slow down the others' start."""
        self.supervisor.join(*map(Process, self._followers()))

    def wait_healthy(self) -> list[str]:
        """Wait until /health is green but for the followers. What is not when the time is over, else nothing."""
        deadline = time.monotonic() + HEALTHY_WITHIN
        while missing := _not_ok(self._health()):
            self.supervisor.check_running()
            if time.monotonic() > deadline:
                return missing
            time.sleep(HEALTH_INTERVAL)
        return []

    def _health(self) -> dict[str, Any]:
        return self.address.get_json("/health", host_header=_accepted_host())

    def _postgres(self) -> Postgres:
        return Postgres(
            paths.postgres_dir(self.home),
            paths.run_dir(self.home),
            log=paths.log_dir(self.home) / "postgres.log",
            pass_fds=[self.lock],
        )

    def _valkey(self) -> Valkey:
        return Valkey(
            paths.redis_dir(self.home),
            paths.run_dir(self.home),
            log=paths.log_dir(self.home) / "valkey.log",
            pass_fds=[self.lock],
        )

    def _web(self) -> Program:
        listen = ["-b", self.address.host, "-p", str(self.address.port)]
        host = _accepted_host()
        return self._gated(
            "web",
            "web",
            *listen,
            "config.asgi:application",
            is_ready=lambda: self.address.get("/health/live", host_header=host)[0] == 200,
        )

    def _first_worker(self) -> Program:
        return self._gated("worker-1", "worker", "--queue", WORKER_QUEUE, stop_within=WORKER_STOP)

    def _followers(self) -> list[Program]:
        queues = {"notifier": JOBS_QUEUE}
        queues |= {f"worker-{number}": WORKER_QUEUE for number in range(2, settings.WORKERS + 1)}
        queues["batch-worker"] = BATCH_QUEUE
        return [
            self._program(name, "manage.py", "worker", "--queue", queue, stop_within=WORKER_STOP)
            for name, queue in queues.items()
        ]

    def _demo_model(self) -> Program:
        return self._program(
            "demo-model",
            "-m",
            "embedded.demo_model",
            "--port",
            str(self._model.port),
            is_ready=lambda: self._model.get("/health")[0] == 200,
        )

    def _gated(self, name: str, *arguments: str, **how: Any) -> Program:
        gate = str(self._gate)
        return self._program(
            name, "-m", "embedded.gate", gate, *arguments, pass_fds=[self.lock, self._gate], **how
        )

    def _program(self, name: str, *arguments: str, **how: Any) -> Program:
        how.setdefault("pass_fds", [self.lock])
        return Program(
            name=name,
            argv=[sys.executable, *arguments],
            log=paths.log_dir(self.home) / f"{name}.log",
            env=self._environment(),
            cwd=settings.BASE_DIR,
            **how,
        )

    def _environment(self) -> Mapping[str, str]:
        path = [str(settings.BASE_DIR / "platform"), os.environ.get("PYTHONPATH", "")]
        common = {
            "PYTHONPATH": os.pathsep.join(part for part in path if part),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
            "COUNTERSIGN_HOME": str(self.home),
            "COUNTERSIGN_WORKER_DRAIN": str(WORKER_DRAIN),
            "COUNTERSIGN_PUBLIC_URL": os.environ.get("COUNTERSIGN_PUBLIC_URL") or self.address.url,
        }
        if not self.has_demo_model:
            return common
        return common | {
            "OPENAI_BASE_URL": f"{self._model.url}v1",
            "OPENAI_API_KEY": "demo",
            "OPENAI_MODEL": "demo-model",
            "COUNTERSIGN_DEMO_MODEL": "1",
        }


def _accepted_host() -> str:
    """A Host header that ALLOWED_HOSTS lets through."""
    first = str(next(iter(settings.ALLOWED_HOSTS), "localhost"))
    return "localhost" if first == "*" else first.removeprefix(".")


def _not_ok(health: Mapping[str, Any]) -> list[str]:
    """Names of the parts whose status is not "ok", those of FOLLOWING left out; "no answer" without an answer."""
    if "checks" not in health:
        return ["no answer"]
    parts = health["checks"].items()
    return [name for name, part in parts if part["status"] != "ok" and name not in FOLLOWING]
