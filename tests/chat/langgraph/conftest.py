"""Programs that call, with keys of the people every test knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from accounts.models import User
from accounts.scopes import Scope
from runtime.redis_client import redis_client

from tests.support import programs
from tests.support.programs import key_of

ROOT = "/api/langgraph"


@pytest.fixture(autouse=True)
def empty_redis(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "db" in request.fixturenames or "transactional_db" in request.fixturenames:
        redis_client().flushdb()


class Program(programs.Program):
    root = ROOT


@pytest.fixture
def program() -> Callable[..., Program]:
    def make(user: User, *scopes: Scope) -> Program:
        return Program(key_of(user, *scopes))

    return make


@pytest.fixture
def alices_program(alice: User, program: Callable[..., Program]) -> Program:
    return program(alice)
