"""Programs that call the API."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from accounts import keys
from accounts.models import User
from accounts.scopes import Scope
from django.test import Client


def key_of(user: User, *scopes: Scope) -> str:
    return keys.create_key(user, "test", scopes or tuple(Scope), timedelta(days=1))[1]


class Program:
    """Django's client with a key, and JSON both ways."""

    root = "/api/v1"

    def __init__(self, key: str = "") -> None:
        self._client = Client(raise_request_exception=False)
        self._headers: Any = {"x-api-key": key} if key else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else ""
        return self._client.generic(
            method,
            f"{self.root}{path}",
            data,
            content_type="application/json",
            headers={**self._headers, **headers},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)
