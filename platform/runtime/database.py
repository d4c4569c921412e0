"""Blocking work from coroutines: one synchronous unit at a time, in a thread, on a pooled connection."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.db import InterfaceError, OperationalError, connection, connections
from django.db.models import Model, QuerySet
from psycopg.errors import ReadOnlySqlTransaction

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Model)

AWAY = (InterfaceError, OperationalError, psycopg.OperationalError)
"""What is raised while the database can't be reached, by Django and by pools of psycopg's own."""

PAGE = 1000  # rows in memory at once
DATABASE_THREADS = 8
TOOL_THREADS = 32  # blocking tools, apart: a slow one must not keep the engine from its rows


def is_away(error: BaseException) -> bool:
    """Whether it says that the database can't be reached, or takes no writes for now."""
    return isinstance(error, AWAY) or isinstance(error.__cause__ or error, ReadOnlySqlTransaction)


def now() -> datetime:
    """By the clock that what is due is compared with, on whichever machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        row: Any = cursor.fetchone()
    found: datetime = row[0]
    return found


def in_pages(rows: QuerySet[M], key: str = "pk") -> Iterator[M]:
    """Every row, in the order of a unique `key`, in bounded memory."""
    rows = rows.order_by(key)
    page = list(rows[:PAGE])
    while page:
        yield from page
        page = list(rows.filter(**{f"{key}__gt": getattr(page[-1], key)})[:PAGE])


@cache
def _threads(name: str, size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix=name)


def in_unit(work: Callable[[], T]) -> T:
    """Runs `work` here, in a thread that nobody tidies up after; inside a transaction as part of it."""
    return work() if connections["default"].in_atomic_block else _unit(work)


def _unit(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connections.close_all()  # back to the pool; Django only does this at the end of a web request


async def _in_thread(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    unit = partial(contextvars.copy_context().run, _unit, work)
    return await asyncio.get_running_loop().run_in_executor(threads, unit)


async def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs `work` in a thread with its own connection and returns what it returns.

    Django's own asynchronous ORM would queue everything behind one thread: measured at half the operations a
    second, with stalls of the loop of up to 50 ms.
    """
    return await _in_thread(_threads("database", DATABASE_THREADS), partial(work, *args, **kwargs))


async def in_tool_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for a tool that blocks."""
    return await _in_thread(_threads("tool", TOOL_THREADS), partial(work, *args, **kwargs))
