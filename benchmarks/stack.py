"""The whole product as `make run` starts it, on a data folder of its own, and people who use it over HTTP."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from benchmarks import usage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(1, str(ROOT / "platform"))

from embedded import paths  # noqa: E402

PASSWORD = "only for benchmarks"
READY_WITHIN = 60.0  # seconds
# group -> what is in the command line of its process
PROCESSES = {
    "web": "config.server",
    "worker": "manage.py worker",
    "PostgreSQL": "postgres -D",
    "Redis": "valkey",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Stack:
    base: str
    """URL without a slash at its end."""
    home: Path
    pid: int
    """Of the supervisor, the parent of all its processes."""
    env: Mapping[str, str]
    """What it was started with beside the usual."""

    def rows(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(paths.database_url(self.home)) as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def new_database(self, name: str) -> Iterator[str]:
        """The URL of an empty database beside the product's own, on the same server; dropped at the end."""
        own = paths.database_url(self.home)
        identifier = sql.Identifier(name)
        with psycopg.connect(own, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
            yield own.rpartition("/")[0] + "/" + name
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))

    @property
    def redis_socket(self) -> Path:
        return paths.run_dir(self.home) / paths.REDIS_SOCKET

    def run(self, module: str, *arguments: str) -> Any:
        """What a module of ours, run with the product's settings, prints as JSON."""
        env = {**os.environ, **self.env, "COUNTERSIGN_HOME": str(self.home)}
        argv = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(argv, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def processes(self) -> dict[str, int]:
        """Pids by group: web, worker, PostgreSQL, Redis."""
        running = {usage.command_line(pid): pid for pid in usage.tree(self.pid)[1:]}
        return {
            group: pid
            for group, sign in PROCESSES.items()
            for line, pid in reversed(running.items())
            if sign in line
        }


@contextmanager
def instant_model() -> Iterator[dict[str, str]]:
    """The environment for a model endpoint that never makes anybody wait."""
    argv = [sys.executable, "-m", "embedded.demo_model", "--port", "0", "--delay", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as model:
        if model.stdout is None:
            raise RuntimeError("the model endpoint has no output")
        base_url = model.stdout.readline().split()[-1]  # "Demo model on http://…/v1"
        try:
            yield {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "bench", "OPENAI_MODEL": "demo-model"}
        finally:
            model.terminate()


@contextmanager
def running(**env: str) -> Iterator[Stack]:
    """The product, started; stopped, its data deleted, at the end."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as home:
        ours = {"COUNTERSIGN_HOME": home, "PORT": str(port), "COUNTERSIGN_DEMO_PASSWORD": PASSWORD, **env}
        up = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "up"],
            env={**os.environ, **ours},
            stdout=subprocess.DEVNULL,
        )
        try:
            base = f"http://127.0.0.1:{port}"
            wait_for(f"{base}/health")
            yield Stack(base, Path(home), up.pid, env)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(30)


def wait_for(url: str) -> None:
    """Returns when `url` answers that all is well. TimeoutError when it does not."""
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if json.load(answer)["status"] == "ok":
                    return
        except (OSError, ValueError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} did not come up")
        time.sleep(0.2)


class Person:
    """Somebody signed in, with cookies, who follows redirects and fills in forms."""

    def __init__(self, base: str, name: str) -> None:
        self.base = base
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.get("/accounts/login/")
        self.post("/accounts/login/", username=name, password=PASSWORD)

    def get(self, path: str) -> str:
        with self._opener.open(f"{self.base}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **fields: str) -> str:
        """Returns the URL it was redirected to."""
        body = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": self.cookie("csrftoken")}).encode()
        with self._opener.open(f"{self.base}{path}", body, timeout=10) as answer:
            return str(answer.geturl())

    def cookie_header(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)

    def cookie(self, name: str) -> str:
        return next(cookie.value or "" for cookie in self.cookies if cookie.name == name)


def hidden_field(html: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', html)
    if found is None:
        raise LookupError(f"the page has no field {name}")
    return found.group(1)
