"""What a condition can be about: the call's arguments, its requester, the time, and what ran before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone
from runtime.models import ToolCall, ToolState

from apps.approvals.comparison import ABSENT, UNREADABLE, decoded, leaves, number

DAY = timedelta(hours=24)
CALLS_READ = 10_000  # of one requester and tool in a day; with more, a sum can't be told

REQUESTER_GROUP = "requester.group"
HOUR = "time.hour"
WEEKDAY = "time.weekday"
CALLS_TODAY = "calls.today"
RESERVED = ("requester.", "time.", "calls.", "sum.")
NAMED = (REQUESTER_GROUP, HOUR, WEEKDAY, CALLS_TODAY)

Args = dict[str, Any]


def is_reserved(name: str) -> bool:
    return name.startswith(RESERVED)


def summed(name: str) -> str:
    """The argument that `sum.<argument>.today` is about; empty for any other name."""
    is_sum = name.startswith("sum.") and name.endswith(".today") and len(name) > len("sum..today")
    return name[len("sum.") : -len(".today")] if is_sum else ""


def at(args: Any, path: str) -> list[Any]:
    """Every value at `order.total` or `items[].price`. Lists are gone through with or without "[]"."""
    values = [args]
    for part in path.split("."):
        name = part.removesuffix("[]")
        values = [found for value in values for found in _members(value, name)]
        if name != part:
            values = [item for value in values for item in _items(value)]
    return values


def _members(value: Any, name: str) -> Iterator[Any]:
    inner = decoded(value) if isinstance(value, str) else value
    if isinstance(inner, list):
        for item in inner:
            yield from _members(item, name)
    elif isinstance(inner, dict):
        yield inner.get(name, ABSENT)
    else:
        yield inner if inner is ABSENT else UNREADABLE


def _items(value: Any) -> Iterator[Any]:
    inner = decoded(value) if isinstance(value, str) else value
    if isinstance(inner, list):
        yield from inner
    else:
        yield inner if inner is ABSENT else UNREADABLE


def ran(call: ToolCall) -> QuerySet[ToolCall]:
    """The requester's other calls of this tool that began in the last day, or are about to."""
    others = ToolCall.objects.filter(user=call.user_id, tool=call.tool).exclude(pk=call.pk)
    return others.filter(Q(started_at__gt=timezone.now() - DAY) | Q(state=ToolState.APPROVED))


class Facts:
    """Of one call, each looked up when it is first asked for."""

    def __init__(
        self,
        call: ToolCall,
        *,
        moment: datetime | None = None,
        earlier: Callable[[], list[Args]] | None = None,
    ) -> None:
        """`moment` and `earlier` stand in for now and the database where a call of the past is looked at."""
        self.call = call
        self._moment = moment
        self._look_up = earlier or self._earlier
        self._found: dict[str, list[Any]] = {}

    def values(self, name: str) -> list[Any]:
        """What the call says under `name`; one ABSENT when it says nothing."""
        if name not in self._found:
            self._found[name] = self._values(name)
        return self._found[name]

    def _values(self, name: str) -> list[Any]:
        if name == REQUESTER_GROUP:
            return list(self.groups)
        if name == HOUR:
            return [self.local.hour]
        if name == WEEKDAY:
            return [self.local.isoweekday()]
        if name == CALLS_TODAY:
            return [len(self.earlier)]
        if argument := summed(name):
            return [self.total(argument)]
        return at(self.call.args, name)

    @cached_property
    def groups(self) -> list[str]:
        return sorted(group.name for group in self.call.user.groups.all())

    @cached_property
    def local(self) -> datetime:
        """In the server's time zone, whatever the zone of who looks at the page."""
        return timezone.localtime(self._moment or timezone.now(), timezone.get_default_timezone())

    @cached_property
    def earlier(self) -> list[Args]:
        """The arguments of the calls that ran before this one."""
        return self._look_up()

    def total(self, argument: str) -> Any:
        """The sum over the day, this call included. What is negative takes nothing off it."""
        if len(self.earlier) > CALLS_READ:
            return UNREADABLE
        try:
            return sum(_amounts([*self.earlier, self.call.args], argument), Decimal(0))
        except (ValueError, ArithmeticError):
            return UNREADABLE

    def _earlier(self) -> list[Args]:
        if self.call.state in (ToolState.PROPOSED, ToolState.APPROVED) and connection.in_atomic_block:
            self._take_turns()
        return list(ran(self.call).order_by().values_list("args", flat=True)[: CALLS_READ + 1])

    def _take_turns(self) -> None:
        """Two calls judged at the same instant, in two turns, would each not see the other."""
        key = f"{self.call.user_id} {self.call.tool}"
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


def _amounts(calls: Iterable[Args], argument: str) -> Iterator[Decimal]:
    for args in calls:
        for leaf in (leaf for value in at(args, argument) for leaf in leaves(value)):
            amount = number(leaf)
            if amount is None:
                raise ValueError
            yield max(amount, Decimal(0))
