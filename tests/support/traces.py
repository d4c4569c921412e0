"""Where a text is found: every column of every table, everything in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection
from runtime.redis_client import redis_client


def places_of(*texts: str) -> list[str]:
    return [place for place, held in _everything() if any(_is_in(text, held) for text in texts)]


def _is_in(text: str, held: str) -> bool:
    return text in held or text.encode().hex() in held  # as PostgreSQL shows bytes


def _everything() -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT string_agg(t::text, ' ') FROM \"{table}\" t")
            yield table, cursor.fetchone()[0] or ""
    redis: Any = redis_client()
    readers = {
        b"stream": redis.xrange,
        b"hash": redis.hgetall,
        b"string": redis.get,
        b"set": redis.smembers,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"zset": lambda key: redis.zrange(key, 0, -1),
    }
    for key in redis.scan_iter():
        yield f"redis {key.decode()}", str(readers[redis.type(key)](key))
