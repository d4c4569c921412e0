"""What a log says by a key, read from the database: runs, tool calls, messages, the state a run left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from runtime.models import ACTIVE, CallKind, Message, Run, RunStatus, Thread, ThreadState, ToolCall
from runtime.schemas import Event

from apps.chat import watching
from apps.chat.langgraph import shapes
from apps.chat.langgraph.protocol import projection
from apps.chat.langgraph.protocol.envelopes import EACH, Json, seq_of
from apps.chat.langgraph.protocol.projection import RunRow


@dataclass
class Rows:
    """What was read for one batch of the log."""

    runs: dict[str, RunRow] = field(default_factory=dict)
    calls: dict[str, ToolCall] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)


def of(thread_id: UUID, batch: Iterable[Event], known: dict[str, RunRow]) -> Rows:
    """For these entries. Runs that are `known` are looked up again only where one ended."""
    batch = list(batch)
    ended = {event["run_id"] for event in batch if watching.is_end(event)}
    wanted = {event["run_id"] for event in batch if event["run_id"]} - known.keys() | ended
    found = Rows({**known, **_runs(thread_id, wanted)})
    call_ids = {event["data"]["pk"] for event in batch if event["event"] == "tool_call"}
    if call_ids:
        rows = ToolCall.objects.filter(thread=thread_id, pk__in=call_ids, kind=CallKind.CALL)
        found.calls = {str(row.pk): row for row in rows}
    message_ids = {event["data"]["pk"] for event in batch if event["event"] == "message"}
    if message_ids:
        found.messages = Message.objects.filter(thread=thread_id).in_bulk(message_ids)
    return found


def _runs(thread_id: UUID, ids: Iterable[str]) -> dict[str, RunRow]:
    rows = list(Run.objects.filter(thread=thread_id, pk__in=ids).select_related("assistant"))
    if not rows:
        return {}
    newest = Run.objects.filter(thread=thread_id).order_by("-created_at").values_list("pk", flat=True).first()
    state = ThreadState.objects.filter(thread=thread_id).first()
    return {str(run.pk): row_of(run, state, is_newest=run.pk == newest) for run in rows}


def row_of(run: Run, state: ThreadState | None, *, is_newest: bool) -> RunRow:
    left = state if state and state.run_id == run.pk else None
    return RunRow(
        id=str(run.pk),
        graph=run.assistant.graph_id,
        modes=frozenset((run.options or {}).get("stream_mode", ())),
        status=run.status,
        error=run.error,
        is_hidden=run.hidden_at is not None,
        is_newest=is_newest,
        values=left.values if left else None,
        interrupts=[shapes.public(each) for each in left.interrupts] if left else [],
    )


def newest_run(thread_id: UUID) -> RunRow | None:
    run = Run.objects.filter(thread=thread_id).select_related("assistant").order_by("-created_at").first()
    return (
        None
        if run is None
        else row_of(run, ThreadState.objects.filter(thread=thread_id).first(), is_newest=True)
    )


def is_lost(thread_id: UUID, since: int | None) -> bool:
    """Whether the log no longer has all that came after `since`; None is the thread's beginning."""
    if since is None:
        return not watching.has_beginning(Thread.objects.get(pk=thread_id))
    oldest = watching.oldest_id(thread_id)
    return oldest is None or since < seq_of(oldest, 0) - EACH


def standing_in_for_the_log(thread_id: UUID) -> list[Json]:
    """How the thread stands, for who missed how it came to that. Said twice it has the same ids."""
    run = newest_run(thread_id)
    if run is None:
        return []
    if run.status == RunStatus.PENDING:
        before = Run.objects.filter(thread=thread_id, started_at__isnull=False).order_by("-started_at")
        last = before.select_related("assistant").first()
        if last is None or last.status in ACTIVE:
            return []
        run = row_of(last, ThreadState.objects.filter(thread=thread_id).first(), is_newest=False)
    return projection.as_it_stands(run)
