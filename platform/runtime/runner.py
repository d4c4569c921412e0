"""Runs a graph for a claimed run: input or resume in, events and rows out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any, cast
from uuid import UUID, uuid4

from django.conf import settings
from django.utils.translation import gettext as _
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.errors import GraphDrained
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl
from langgraph.types import Command, Interrupt, StateSnapshot
from redis.asyncio import Redis as AsyncRedis

from runtime import database, events, forks, interrupts, pace, run_rows, snapshots
from runtime.checkpoints import pending_interrupts
from runtime.configuration import config_of, context_of
from runtime.context import RunContext, current_run
from runtime.database import in_database
from runtime.exceptions import LeaseLost, LimitReached, Unanswerable
from runtime.llm import explain
from runtime.models import Run, RunStatus
from runtime.schemas import Usage
from runtime.tokens import TokenStream
from runtime.wire import WireStream

logger = logging.getLogger(__name__)

END_SOON = 0.05  # seconds for which a message waits to be written with the run's end
TOOL_SETTLE = 1.0  # seconds a stopped run leaves its tools to record how they ended
CLAIMS = 20  # of one run: after so many it is not the database that is wrong
NO_CHECKPOINT = "none"  # an id that none has
READ_LIMIT = 10.0  # seconds to read a state that programs want

Graph = Pregel[Any, Any, Any, Any]


class Runner:
    """One claimed run, from its first step to its end."""

    def __init__(self, context: RunContext, graph: Graph, redis: AsyncRedis, control: RunControl) -> None:
        run = context.run
        self._run = run
        self._graph = graph
        self._checkpointer = cast(BaseCheckpointSaver[Any], graph.checkpointer)
        self._control = control
        self._context = context
        writer = events.Writer(redis, run.thread_id, run.pk)
        self._stream = TokenStream(writer, run.pk)
        self._wire = None if run.options is None else WireStream(writer, run)
        self._tokens = (0, 0)
        self._seen: set[str] = set()
        self._unsaved: list[tuple[str, str]] = []
        """(id, text) of messages that are still to be written."""
        self._saving = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None  # kept: the loop itself would forget it
        self._config = config_of(run)

    async def execute(self) -> None:
        """Brings the run to an end, or gives it back. Raises LeaseLost, and what a database that is away raises."""
        current_run.set(self._context)
        try:
            async with asyncio.timeout(settings.RUN_TIME_LIMIT) as limit:
                with pace.streaming():
                    status = await self._run_graph()
                if self._run.attempt > 1:
                    await self._keep_what_was_said()
            await self._finish(status)
        except GraphDrained:  # what is unsaved is in the checkpoint: the next attempt writes it
            await in_database(self._run.release, self._usage())
        except asyncio.CancelledError as cancelled:
            self._context.is_ending = True
            if self._context.is_lost:  # nobody pressed Stop: the run may be another worker's by now
                raise LeaseLost(run_id=self._run.pk) from cancelled
            await self._stopped()
        except LeaseLost:
            raise
        except Exception as error:
            is_away = database.is_away(error) and self._run.attempt < CLAIMS
            # What it talked to may also have been stopped along with this worker.
            if is_away or self._control.drain_requested:
                await self._give_back()
            else:
                await self._failed(error, timed_out=limit.expired())
        finally:
            if self._later is not None:
                self._later.cancel()

    async def _run_graph(self) -> str:
        payload = await self._payload()
        if payload is NOTHING_LEFT:
            return await self._resting_status()
        while await self._is_interrupted_by(payload):
            self._config["configurable"].pop(
                "checkpoint_id", None
            )  # where it began; it goes on from its newest
            saved = await self._checkpointer.aget_tuple(self._config)
            payload = await self._answer(pending_interrupts(saved), saved)
            if payload is NOTHING_LEFT:
                return RunStatus.WAITING
        return RunStatus.SUCCESS

    async def _is_interrupted_by(self, payload: Any) -> bool:
        """Calls the graph once; True when it rests with something asked."""
        interrupted = False
        async with aclosing(self._events(payload)) as events_of_graph:
            async for mode, data in events_of_graph:
                if mode == "messages":
                    await self._stream.add(data[0])
                else:
                    interrupted |= "__interrupt__" in data
                    await self._keep(_messages_in(data))
                _heed_cancellation()
        return interrupted

    def _events(self, payload: Any) -> AsyncGenerator[tuple[str, Any]]:
        # A tool's effect must never outlive the checkpoint that proposed it.
        options: dict[str, Any] = {"durability": "sync", "control": self._control}
        if self._wire is not None:
            return self._wire.follow(self._graph, payload, self._config, **options)
        options |= {"stream_mode": ["messages", "updates"], "context": context_of(self._run)}
        stream = self._graph.astream(payload, self._config, **options)
        return cast(AsyncGenerator[tuple[str, Any]], stream)

    async def _payload(self) -> Any:
        """What to call the graph with: the input, the answers to its interrupts, None to go on, or NOTHING_LEFT."""
        is_first = self._run.attempt == 1
        saved = None
        if self._run.command is not None or not is_first:
            saved = await self._checkpointer.aget_tuple(self._config)
        began = saved is not None and saved.metadata.get("run_id") == str(self._run.pk)
        if self._run.command is None and not began:
            if origin := (self._run.options or {}).get("checkpoint_id"):
                return await self._fork(origin)
            await self._roll_back()
            if self._run.replaces_id is None and await in_database(run_rows.ended_well, self._run):
                return self._run.input or {}  # nothing to mend, and a long history is long to read
            state = await self._graph.aget_state(self._config)
            return await in_database(run_rows.with_repair, self._run, state)
        if not is_first:
            state = await self._graph.aget_state(self._config)
            known = [message.id for message in _messages_in({"": state.values})]
            await in_database(run_rows.forget_unsaved, self._run, known)
        asked = pending_interrupts(saved)  # a third of the time the whole state would take
        if not asked:
            state = await self._graph.aget_state(self._config)
            if not state.interrupts:
                return None  # also at rest: what a task wrote before the worker died may still want its checkpoint
            asked = state.interrupts
        return await self._answer(asked, saved)

    async def _answer(self, asked: Sequence[Interrupt], saved: CheckpointTuple | None) -> Any:
        """The answers that are there, or NOTHING_LEFT. What nobody was asked about yet is asked now.

        Never None while an interrupt is pending: LangGraph would answer it with an older answer.
        """
        settled = await in_database(interrupts.settle, self._context, asked)
        if settled.problem:
            raise Unanswerable(settled.problem)
        if not settled.answers:
            return NOTHING_LEFT
        self._context.saved = saved
        return Command(resume=settled.answers)

    async def _fork(self, checkpoint_id: str) -> Any:
        """Begins from there, after what mends it; without input with the step that followed."""
        has_input = self._run.input is not None
        thread_id = self._run.thread_id
        state = await forks.starting_point(self._graph, thread_id, checkpoint_id, has_input=has_input)
        self._config["configurable"]["checkpoint_id"] = checkpoint_id
        return await in_database(run_rows.with_repair, self._run, state) if has_input else None

    async def _roll_back(self) -> None:
        """Begins where the turn of the run that this one replaces began. What came of that stays in the history."""
        if self._run.replaces_id is None:
            return
        began = await in_database(run_rows.first_of_turn, self._run.replaces_id)
        has_begun, before = await self._before(began)
        if before is not None:
            self._config["configurable"]["checkpoint_id"] = before
        elif has_begun:
            await self._checkpointer.adelete_thread(str(self._run.thread_id))

    async def _before(self, run_id: UUID) -> tuple[bool, str | None]:
        """Whether the run came to a checkpoint, and the id of the one before it."""
        saver, where = self._checkpointer, _where(self._run)
        made = [saved async for saved in saver.alist(where, filter={"run_id": str(run_id)})]
        if not made:
            return False, None
        # Not its parent: a turn stopped at its first token may not have written the checkpoint it began with.
        before = [saved async for saved in saver.alist(where, before=made[-1].config, limit=1)]
        return True, before[0].checkpoint["id"] if before else None

    async def _resting_status(self) -> str:
        state = await self._graph.aget_state(self._config)
        return RunStatus.WAITING if state.interrupts else RunStatus.SUCCESS

    async def _keep(self, messages: Iterable[AIMessage]) -> None:
        """Takes in the finished messages of one step; their tokens go out before.

        One that calls tools is written before they run. Any other may be the last, and is written with the run's end
        if that comes soon: one transaction, and one change of the page.
        """
        for message in await self._news(messages):
            await self._stream.end_message()
            self._context.why = str(message.text)
            usage = message.usage_metadata
            if usage:
                self._tokens = (
                    self._tokens[0] + usage["input_tokens"],
                    self._tokens[1] + usage["output_tokens"],
                )
            if message.text:
                self._unsaved.append((message.id or str(uuid4()), str(message.text)))
            if message.tool_calls:
                await self._save()
            elif self._unsaved and (self._later is None or self._later.done()):
                self._later = asyncio.create_task(self._save_later())
        if sum(self._tokens) > settings.RUN_TOKEN_LIMIT:
            raise LimitReached(
                _("The turn used more than %(limit)s tokens and was stopped. Ask for less at once.")
                % {"limit": settings.RUN_TOKEN_LIMIT}
            )

    async def _keep_what_was_said(self) -> None:
        """Writes what an earlier attempt brought into a checkpoint and did not live to write."""
        state = await self._graph.aget_state(_where(self._run))
        await self._keep(_answers_to_the_last_message(state.values))

    async def _news(self, messages: Iterable[AIMessage]) -> list[AIMessage]:
        """Those that were not kept before: a subgraph hands its whole history on with every step."""
        unseen = [message for message in messages if message.id not in self._seen]
        ids = {message.id for message in unseen if message.id}
        self._seen |= ids
        # What streamed in this attempt is new, and that is nearly everything.
        known = ids - self._stream.ids if self._run.attempt == 1 else ids
        kept = await in_database(run_rows.kept_messages, self._run.thread_id, known) if known else set()
        return [message for message in unseen if message.id not in kept]

    async def _save_later(self) -> None:
        await asyncio.sleep(END_SOON)
        with suppress(Exception):  # they are written with the run's end, or that says what is wrong
            await self._save()

    async def _save(self) -> None:
        async with self._saving:
            saved = list(self._unsaved)
            if saved:
                await in_database(run_rows.save_messages, self._run, saved)
                del self._unsaved[: len(saved)]

    async def _finish(self, status: str, **fields: Any) -> None:
        await self._stream.flush()
        rest = await self._at_rest(status)
        async with self._saving:
            unsaved, self._unsaved = self._unsaved, []
            await in_database(run_rows.end, self._run, status, unsaved, rest, usage=self._usage(), **fields)

    def _usage(self) -> Usage:
        meter = self._context.meter
        return {"tokens": self._tokens, "cost": meter.cost, "calls": meter.calls}

    async def _at_rest(self, status: str) -> StateSnapshot | None:
        """What programs are told of the end; None when none asked, or it can't be read: then they ask for it."""
        if self._wire is None:
            return None
        try:
            async with asyncio.timeout(READ_LIMIT):
                rest = await self._graph.aget_state(await self._resting_place(status))
                if status == RunStatus.WAITING:
                    shown = await in_database(
                        snapshots.shown_interrupts, self._run.thread_id, rest.interrupts
                    )
                    asked = [snapshots.public(each) for each in shown.values()]
                    await self._wire.interrupted(snapshots.state_values(rest), asked)
        except Exception:
            logger.warning(
                "state not read", exc_info=True, extra={"action": "state_unread", "run_id": str(self._run.pk)}
            )
            rest = None
        await self._wire.flush()
        return rest

    async def _resting_place(self, status: str) -> RunnableConfig:
        """The newest checkpoint; of a turn that is undone, the one before it."""
        where = _where(self._run)
        if status == RunStatus.CANCELLED and await in_database(run_rows.is_rolled_back, self._run):
            began = await in_database(run_rows.first_of_turn, self._run.pk)
            before = (await self._before(began))[1]
            where["configurable"]["checkpoint_id"] = before or NO_CHECKPOINT
        return where

    async def _stopped(self) -> None:
        """A person pressed Stop: what was said so far stays, marked as cut off."""
        await self._context.settle(TOOL_SETTLE)
        await self._keep_partial()
        await self._finish(RunStatus.CANCELLED)

    async def _failed(self, error: Exception, *, timed_out: bool) -> None:
        logger.exception("run failed", extra={"action": "run_failed", "run_id": str(self._run.pk)})
        await self._keep_partial()
        status = RunStatus.TIMEOUT if timed_out else RunStatus.ERROR
        reason = _out_of_time() if timed_out else explain(error)
        await self._finish(status, error=reason, error_type=type(error).__name__)

    async def _give_back(self) -> None:
        """What went wrong around it says nothing about the run: whoever claims it next goes on with it."""
        logger.warning(
            "run given back", exc_info=True, extra={"action": "run_given_back", "run_id": str(self._run.pk)}
        )
        try:
            await in_database(self._run.release, self._usage())
        except Exception as error:
            if not database.is_away(error):
                raise
            # Still away: the lease runs out.

    async def _keep_partial(self) -> None:
        unfinished = await self._stream.end_message()
        if unfinished:
            await self._save()
            await in_database(run_rows.save_messages, self._run, [unfinished], is_partial=True)


def _where(run: Run) -> RunnableConfig:
    """The newest checkpoint of its thread."""
    return {"configurable": {"thread_id": str(run.thread_id)}}


def _answers_to_the_last_message(values: dict[str, Any]) -> list[AIMessage]:
    found: list[AIMessage] = []
    for history in values.values():
        if isinstance(history, list):
            asked = max((at for at, item in enumerate(history) if isinstance(item, HumanMessage)), default=-1)
            found += [item for item in history[asked + 1 :] if isinstance(item, AIMessage)]
    return found


def _heed_cancellation() -> None:
    """Raises the CancelledError that something on the way kept to itself.

    asyncio.wait_for does before Python 3.12 when what it waits for ends in the same moment, and redis-py sends with it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _out_of_time() -> str:
    limit = f"{settings.RUN_TIME_LIMIT:g}"
    return _("The turn took more than %(limit)s s and was stopped. Ask for less at once.") % {"limit": limit}


NOTHING_LEFT = object()  # the graph is at rest: there is nothing to call it with


def _messages_in(update: dict[str, Any]) -> list[AIMessage]:
    """The model's messages in one "updates" event: {node: {channel: value}}, whatever the channel is called."""
    written = [values for values in update.values() if isinstance(values, dict)]
    values = [value for each in written for value in each.values()]
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return [item for item in items if isinstance(item, AIMessage)]
