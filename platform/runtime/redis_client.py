"""The one place that opens connections to Redis.

redis-py's own defaults lose work: its pools raise at 100 connections, and its 5 s socket timeout ends every
longer block. Pools here wait instead, and each client's timeout fits what it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from django.conf import settings
from redis import BlockingConnectionPool, Redis
from redis.asyncio import BlockingConnectionPool as AsyncBlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError
from redis.retry import Retry

T = TypeVar("T")

POOL_SIZE = 16
STREAM_POOL_SIZE = 64  # for hundreds of streams on one event loop
COMMAND_TIMEOUT = 0.5  # seconds: a page never waits longer for Redis, it goes on without
STREAM_TIMEOUT = 1.0  # seconds: a run that streams must not stand still with a Redis that does
REST = 1.0  # seconds in which a Redis that stood still is not asked again
BLOCKING_TIMEOUT = 30.0  # seconds: for clients that block in a pop (RQ's workers)


def _options(timeout: float, *, pool_size: int = POOL_SIZE) -> dict[str, Any]:
    return {
        "max_connections": pool_size,
        "timeout": 5,  # seconds to wait for a free connection
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": 30,
    }


class WaitOnce(Retry):
    """Tries a lost connection once more, but waits for a Redis that stands still once, not with every command."""

    _rests_until = 0.0

    def __init__(self) -> None:
        super().__init__(NoBackoff(), 1)

    def __deepcopy__(self, memo: dict[int, Any]) -> WaitOnce:
        return self  # what one connection finds out, all of them know

    def call_with_retry(self, do: Callable[[], T], *args: Any, **kwargs: Any) -> T:
        def attempt() -> T:
            if time.monotonic() < self._rests_until:
                raise TimeoutError("Redis did not answer in time a moment ago.")
            try:
                return do()
            except TimeoutError:
                self._rests_until = time.monotonic() + REST
                raise

        return super().call_with_retry(attempt, *args, **kwargs)


@cache
def redis_client() -> Redis:
    """For short commands from views, receivers and commands."""
    pool = BlockingConnectionPool.from_url(settings.REDIS_URL, retry=WaitOnce(), **_options(COMMAND_TIMEOUT))
    return Redis(connection_pool=pool)


@cache
def blocking_redis_client() -> Redis:
    """For RQ's worker, whose pops block for seconds."""
    pool = BlockingConnectionPool.from_url(settings.REDIS_URL, **_options(BLOCKING_TIMEOUT))
    return Redis(connection_pool=pool)


def async_redis_client() -> AsyncRedis:
    """A new client for the calling event loop, whose answers are text; whoever makes it closes it."""
    options = _options(STREAM_TIMEOUT, pool_size=STREAM_POOL_SIZE)
    pool = AsyncBlockingConnectionPool.from_url(settings.REDIS_URL, decode_responses=True, **options)
    return AsyncRedis(connection_pool=pool)
