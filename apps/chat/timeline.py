"""A thread as its page shows it: rows of the database, and what is still streaming out of the log.

Page, reset and tests use the same `snapshot`. The log is read before the database: what the log announced up to
`cursor` is then in the rows, and what the rows have beyond it arrives once more and replaces itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from runtime.decisions import AnswerForm
from runtime.models import UNSETTLED, Message, Role, Run, RunStatus, Thread, ToolCall
from runtime.schemas import RunProgress

from apps.chat.cards import Card
from apps.chat.tail import OpenMessage, read_tail

RECENT = 200  # messages on a page; older ones are behind a link
ENOUGH = 50  # runs, the newest, that decide what may be sent now

ENDED_BADLY = (RunStatus.ERROR, RunStatus.TIMEOUT, RunStatus.CANCELLED)


FilledIn = Mapping[UUID, AnswerForm]
"""{tool call: the answer that was typed and not taken}."""


@dataclass(frozen=True)
class Item:
    """One element of the timeline."""

    template: str
    id: str
    """Of the element; the same from its first token to its last state."""
    order: str
    """Where it stands: items are sorted by it, on the server and in the browser."""
    content: Any
    """The message, card or run that the template shows."""
    is_queued: bool = False
    retry: str = ""
    """What "Try again" sends once more."""


@dataclass(frozen=True)
class Timeline:
    items: list[Item]
    cursor: str
    has_earlier: bool


def snapshot(thread: Thread, *, everything: bool = False, filled_in: FilledIn | None = None) -> Timeline:
    """The thread now, and the cursor after which its events go on."""
    tail = read_tail(thread.pk)
    turns = Turns(thread, filled_in=filled_in)
    newest = thread.messages.order_by("-created_at", "-pk")
    messages = list(newest if everything else newest[: RECENT + 1])
    has_earlier = not everything and len(messages) > RECENT
    since = messages[RECENT - 1].created_at if has_earlier else None
    items = [turns.message(message) for message in messages[: None if everything else RECENT]]
    items += [turns.card(call) for call in _since(calls_of(thread), since)]
    items += [turns.notice(run) for run in turns.ended_badly(since)]
    saved = {message.key for message in messages}
    items += [turns.open(message) for message in tail.open if message.key not in saved]
    return Timeline(sorted(items, key=lambda item: item.order), tail.cursor, has_earlier)


def calls_of(thread: Thread) -> QuerySet[ToolCall]:
    return thread.tool_calls.select_related("decided_by", "user").defer("args_schema", "why")


def _since(calls: QuerySet[ToolCall], since: datetime | None) -> QuerySet[ToolCall]:
    return calls if since is None else calls.filter(created_at__gte=since)


class Turns:
    """The turns of a thread: a person's message and all that came of it, over resumptions.

    A message that queues while an answer streams stands after that answer, whenever the answer ends.
    """

    def __init__(
        self, thread: Thread, *, newest: int | None = None, filled_in: FilledIn | None = None
    ) -> None:
        """`newest`: how many runs are enough."""
        self._thread = thread
        self._filled_in = filled_in or {}
        self.runs: dict[UUID, Run] = {}
        self.renew(thread.runs.order_by("-created_at")[:newest].defer("input", "command"))

    def renew(self, runs: Iterable[Run]) -> None:
        """Takes these as they stand now."""
        self.runs |= {run.pk: run for run in runs}

    def composer(self, waiting: Sequence[ToolCall]) -> Composer:
        """`waiting`: the thread's unsettled calls."""
        return _composer(sorted(self.runs.values(), key=_age, reverse=True), waiting)

    def root(self, run_id: UUID) -> Run | None:
        """The run that began the turn; None when the run is younger than this object."""
        run = self.runs.get(run_id)
        while run is not None and run.resumes_id in self.runs:
            run = self.runs[run.resumes_id]
        return run

    def ended_badly(self, since: datetime | None = None) -> list[Run]:
        runs = [run for run in self.runs.values() if run.status in ENDED_BADLY]
        return runs if since is None else [run for run in runs if run.created_at >= since]

    def message(self, row: Message) -> Item:
        run = self.runs.get(row.run_id)
        queues = row.role == Role.HUMAN and run is not None and self._queues(run)
        template = "chat/_human_message.html" if row.role == Role.HUMAN else "chat/_ai_message.html"
        return Item(
            template, message_id(row.key), self._order(row.run_id, row.created_at), row, is_queued=queues
        )

    def open(self, message: OpenMessage) -> Item:
        order = self._order(UUID(message.run_id), None)
        return Item("chat/_open_message.html", message_id(message.key), order, message)

    def card(self, call: ToolCall) -> Item:
        order = self._order(call.run_id, call.created_at)
        return Item(
            "chat/_tool_call.html", f"tool-call-{call.pk}", order, Card(call, self._filled_in.get(call.pk))
        )

    def notice(self, run: Run) -> Item:
        """Says that a run ended before its answer did."""
        order = self._order(run.pk, run.ended_at or run.created_at)
        return Item("chat/_notice.html", f"run-{run.pk}", order, run, retry=self._first_words(run))

    def _queues(self, run: Run) -> bool:
        """True when the run can't begin before another one of the thread is through."""
        resumed = {other.resumes_id for other in self.runs.values()}
        older = [other for other in self.runs.values() if other.created_at < run.created_at]
        in_the_way = [
            other for other in older if other.is_active or (_waits(other) and other.pk not in resumed)
        ]
        return run.status == RunStatus.PENDING and bool(in_the_way)

    def _first_words(self, run: Run) -> str:
        root = self.root(run.pk)
        said = self._thread.messages.filter(run=root, role=Role.HUMAN).first()
        return said.content if said else ""

    def _order(self, run_id: UUID, at: datetime | None) -> str:
        """Sortable text: the turn's beginning, then the item's; None stands at the turn's end."""
        root = self.root(run_id)
        return f"{_micros(root.created_at if root else None)}.{_micros(at)}"


def _age(run: Run) -> datetime:
    return run.created_at


def _waits(run: Run) -> bool:
    return run.status == RunStatus.WAITING


def _micros(at: datetime | None) -> str:
    return f"{int(at.timestamp() * 1_000_000):016d}" if at else "9" * 16


def message_id(key: str) -> str:
    return f"message-{key}"


@dataclass(frozen=True)
class Composer:
    """What may be sent or stopped now."""

    status: str
    """idle, queued, running, stopping, waiting, failed: what the thread's newest turn does."""
    run: Run | None = None
    """The run that Stop stops."""
    waiting: Sequence[ToolCall] = ()

    @property
    def is_blocked(self) -> bool:
        return bool(self.waiting)

    @property
    def is_active(self) -> bool:
        return self.run is not None

    @property
    def progress(self) -> RunProgress | None:
        """Of the run at work, where its graph counts."""
        return self.run.progress if self.run is not None and self.status == "running" else None


def composer_of(thread: Thread) -> Composer:
    return Turns(thread, newest=ENOUGH).composer(unsettled(thread))


def unsettled(thread: Thread) -> list[ToolCall]:
    """The calls that a person is asked about."""
    return list(thread.tool_calls.filter(state__in=UNSETTLED).order_by("created_at"))


def _composer(runs: Sequence[Run], waiting: Sequence[ToolCall]) -> Composer:
    """`runs`: newest first."""
    active = _at_work(runs)
    if active is not None and (active.status == RunStatus.RUNNING or not waiting):
        return Composer(_activity(active), active, waiting)
    if waiting:
        return Composer("waiting", None, waiting)
    failed = bool(runs) and runs[0].status in (RunStatus.ERROR, RunStatus.TIMEOUT)
    return Composer("failed" if failed else "idle")


def _at_work(runs: Iterable[Run]) -> Run | None:
    """The run at work, else the one whose turn is next: a resumed turn goes before messages that queue."""
    active = [run for run in runs if run.is_active]
    return min(active, key=_turn, default=None)


def _turn(run: Run) -> tuple[bool, bool, datetime]:
    return run.status != RunStatus.RUNNING, run.resumes_id is None, run.created_at


def _activity(run: Run) -> str:
    if run.cancel_requested_at is not None:
        return "stopping"
    return "running" if run.status == RunStatus.RUNNING else "queued"
