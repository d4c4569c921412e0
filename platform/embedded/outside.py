"""Servers that are somebody else's: one look at each, so that a wrong address is named at once."""

from __future__ import annotations

from typing import cast

import psycopg
import redis
from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper

from embedded.exceptions import EmbeddedError

TIMEOUT = 5  # seconds


def check_database() -> None:
    """EmbeddedError when DATABASE_URL leads nowhere. Through the pool the reason would be lost, and 30 s."""
    parameters = cast(DatabaseWrapper, connection).get_connection_params() | {"connect_timeout": TIMEOUT}
    try:
        psycopg.connect(**parameters).close()
    except psycopg.Error as error:
        raise EmbeddedError(f"DATABASE_URL: {_first_line(error)}") from error


def check_redis() -> None:
    """EmbeddedError when REDIS_URL leads nowhere."""
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=TIMEOUT) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise EmbeddedError(f"REDIS_URL: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
