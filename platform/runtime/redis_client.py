"""The one place that opens connections to Redis.

redis-py's own defaults lose work: its pools raise at 100 connections, and its 5 s socket timeout ends every
longer block. Pools here wait instead, and each client's timeout fits what it does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from redis import BlockingConnectionPool, Redis
from redis.asyncio import BlockingConnectionPool as AsyncBlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.retry import Retry

POOL_SIZE = 16
STREAM_POOL_SIZE = 64  # for hundreds of streams on one event loop
COMMAND_TIMEOUT = 0.5  # seconds: a page never waits longer for Redis, it goes on without
STREAM_TIMEOUT = 1.0  # seconds: a run that streams must not stand still with a Redis that does
BLOCKING_TIMEOUT = 30.0  # seconds: for clients that block in a pop (RQ's workers)


def _options(timeout: float, *, pool_size: int = POOL_SIZE) -> dict[str, Any]:
    return {
        "max_connections": pool_size,
        "timeout": 5,  # seconds to wait for a free connection
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": 30,
    }


@cache
def redis_client() -> Redis:
    """For short commands from views, receivers and commands."""
    pool = BlockingConnectionPool.from_url(
        settings.REDIS_URL, retry=Retry(NoBackoff(), 1), **_options(COMMAND_TIMEOUT)
    )
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
