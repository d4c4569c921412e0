"""Embedded servers and processes of a test's own, and the demo model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import openai
import pytest
from embedded import paths
from embedded.postgres import Postgres
from embedded.process import Process, Program
from embedded.valkey import Valkey

from tests.support.demo import DemoModel
from tests.support.demo_chat import TOOLS, Chat, chat_model

Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    paths.make_layout(home)
    return home


@pytest.fixture
def own_postgres(home: Path) -> Iterator[Postgres]:
    server = Postgres(paths.postgres_dir(home), paths.run_dir(home), fsync=False)
    yield server
    server.stop()


@pytest.fixture
def own_valkey(home: Path) -> Iterator[Valkey]:
    server = Valkey(paths.redis_dir(home), paths.run_dir(home))
    yield server
    server.stop()


@pytest.fixture
def until() -> Until:
    """Waits for something to come true, 10 s at most."""

    def wait(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not is_so():
            assert time.monotonic() < deadline, "it did not come true within 10 s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Makes processes out of shell scripts; kills those that are left."""
    made: list[Process] = []

    def make(script: str, *, name: str = "script", **how: object) -> Process:
        program = Program(name=name, argv=["sh", "-c", script], log=tmp_path / f"{name}.log", **how)
        made.append(Process(program))
        return made[-1]

    yield make
    for process in made:
        process.kill()


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoModel]:
    with DemoModel() as model:
        yield model


@pytest.fixture
async def client(demo: DemoModel) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=demo.base_url, api_key="test", max_retries=0, timeout=5) as client:
        yield client


@pytest.fixture
def chat(demo: DemoModel) -> Chat:
    return Chat(chat_model(demo).bind_tools(TOOLS), [])
