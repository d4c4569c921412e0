"""Programs that call, with keys of the people every test knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from accounts import keys
from accounts.models import User
from accounts.scopes import Scope
from django.test import Client
from runtime.redis_client import redis_client

ROOT = "/api/langgraph"


@pytest.fixture(autouse=True)
def empty_redis(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "db" in request.fixturenames or "transactional_db" in request.fixturenames:
        redis_client().flushdb()


class Program:
    """Django's client with a key, and JSON both ways."""

    def __init__(self, key: str = "", root: str = ROOT) -> None:
        self._root = root
        self._client = Client(raise_request_exception=False)
        self._headers: Any = {"x-api-key": key} if key else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else ""
        return self._client.generic(
            method,
            f"{self._root}{path}",
            data,
            content_type="application/json",
            headers={**self._headers, **headers},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)


def key_of(user: User, *scopes: Scope) -> str:
    return keys.create_key(user, "test", scopes or tuple(Scope), timedelta(days=1))[1]


@pytest.fixture
def program() -> Callable[..., Program]:
    def make(user: User, *scopes: Scope) -> Program:
        return Program(key_of(user, *scopes))

    return make


@pytest.fixture
def alices_program(alice: User, program: Callable[..., Program]) -> Program:
    return program(alice)
