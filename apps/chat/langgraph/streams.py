"""A run as it goes, for one client: frames of server-sent events, or the outcome once it is there.

All of them read the thread's log. While Redis is away, or has lost the log, the row of the run says how it stands.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from django.http import StreamingHttpResponse
from runtime.database import in_database
from runtime.models import ACTIVE, Run, RunStatus, ThreadState
from runtime.runs import cancel_run

from apps.chat import watching
from apps.chat.langgraph import shapes
from apps.chat.watching import RunWatch, Watch

_cancelling: set[asyncio.Task[Any]] = set()  # kept: the loop itself would forget them

# Responses


def as_events(
    watch: RunWatch, modes: list[str], *, cancels: bool, is_live: bool = False
) -> StreamingHttpResponse:
    """`is_live`: of a run that has ended by then nothing is told but that."""
    content = _counted(watch, _frames(watch, set(modes), is_live=is_live), cancels=cancels)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(content, content_type="text/event-stream; charset=utf-8", headers=headers)


def as_thread_events(watch: Watch, *, with_steps: bool) -> StreamingHttpResponse:
    """Open across runs, until the thread has been idle for a while."""
    content = _counted(watch, _thread_frames(watch, with_steps=with_steps), cancels=False)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(content, content_type="text/event-stream; charset=utf-8", headers=headers)


def as_outcome(watch: RunWatch, *, cancels: bool) -> StreamingHttpResponse:
    return _patient(watch, shapes.outcome, cancels=cancels)


def as_run(watch: RunWatch) -> StreamingHttpResponse:
    return _patient(watch, lambda run, _state: shapes.of_run(run), cancels=False)


def _patient(watch: RunWatch, shape: Any, *, cancels: bool) -> StreamingHttpResponse:
    """JSON at the end, and a new line now and then before it, which keeps what is in between from giving up."""

    async def content() -> AsyncGenerator[str]:
        async for batch in watching.batches(watch):
            if batch is None:
                yield "\n"
        yield json.dumps(shape(*await in_database(_end_of, watch.run)))

    return StreamingHttpResponse(_counted(watch, content(), cancels=cancels), content_type="application/json")


async def _counted(watch: Watch, content: AsyncGenerator[str], *, cancels: bool) -> AsyncGenerator[bytes]:
    """Counts the stream while it is open, and stops the run of a client that left, where it asked for that."""
    is_whole = False
    try:
        with watching.counted(watch.caller.user):
            async with aclosing(content):
                async for piece in content:
                    yield piece.encode()
        is_whole = True
    finally:
        if cancels and not is_whole and isinstance(watch, RunWatch):
            _cancelling.add(task := asyncio.ensure_future(in_database(cancel_run, watch.run)))
            task.add_done_callback(_cancelling.discard)


# Frames


def frame(event: str, data: Any, id: str) -> str:
    # One line: JSON has no line break of its own.
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\nid: {id}\n\n"


async def _frames(watch: RunWatch, modes: set[str], *, is_live: bool) -> AsyncGenerator[str]:
    id, has_gap = watch.cursor, False
    if is_live and (await in_database(watching.standing, watch)).is_ended:
        yield frame("end", None, id)
        return
    yield frame("metadata", {"run_id": str(watch.run.pk), "attempt": 1}, id)
    is_told = False
    async for batch in watching.batches(watch):
        if batch is None:
            yield ": heartbeat\n\n"
            continue
        for event in batch:
            id = event["id"]
            data = event["data"]
            is_told |= watching.ends(event, watch.run)
            has_gap |= event["event"] == "reset" or bool(data.get("gap") and data["mode"] in modes)
            if event["event"] == "wire" and data["mode"] in modes and "event" in data:
                yield frame(data["event"], data["data"], id)
    streamed = (watch.run.options or {}).get("stream_mode", [])
    is_complete = is_told and not has_gap and "values" in streamed
    async for last in _last(watch, id, with_values="values" in modes and not is_complete):
        yield last


async def _thread_frames(watch: Watch, *, with_steps: bool) -> AsyncGenerator[str]:
    async for batch in watching.batches(watch):
        if batch is None:
            yield ": heartbeat\n\n"
            continue
        for event in batch:
            data = event["data"]
            if event["event"] == "run" and data["status"] == RunStatus.RUNNING:
                yield frame("metadata", {"run_id": event["run_id"], "attempt": data["attempt"]}, event["id"])
            elif watching.is_end(event):
                yield frame("metadata", {"status": "run_done", "run_id": event["run_id"]}, event["id"])
            elif with_steps and event["event"] == "wire" and "event" in data:
                yield frame(data["event"], data["data"], event["id"])


async def _last(watch: RunWatch, id: str, *, with_values: bool) -> AsyncIterator[str]:
    """How it ended; with the values where the log does not have them any more."""
    run, state = await in_database(_end_of, watch.run)
    if run.status in ACTIVE:  # whoever watched may no longer
        return
    if run.status in shapes.ENDED_BADLY:
        yield frame("error", shapes.error_of(run), id)
    elif with_values:
        yield frame("values", shapes.outcome(run, state), id)
    yield frame("end", None, id)


# What follows reads the database.


def _end_of(run: Run) -> tuple[Run, ThreadState | None]:
    """The run as it is now, and the state it left; None where another run has gone on since."""
    found = Run.objects.get(pk=run.pk)
    state = ThreadState.objects.filter(thread=run.thread_id).first()
    return found, state
