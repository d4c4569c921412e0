"""The event loop of a worker: its runs, their leases, and the watch over runs whose worker died."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from uuid import UUID

import uvloop
from django.conf import settings
from langgraph.runtime import RunControl
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from runtime import calls, llm, runs, signals
from runtime.answers import Answers
from runtime.checkpoints import open_checkpointer
from runtime.context import RunContext
from runtime.database import in_database
from runtime.endings import LEAVE_WITHIN, end
from runtime.exceptions import LeaseLost
from runtime.graphs import Graphs
from runtime.models import Run, RunStatus
from runtime.quarantine import Quarantine
from runtime.redis_client import async_redis_client
from runtime.runner import Runner

logger = logging.getLogger(__name__)

RECONCILE_INTERVAL = 2.0  # seconds
START_LIMIT = 30.0  # seconds to reach the database and Redis
STOP_AGAIN = 5.0  # seconds in which what runs may end by itself; asked for with each heartbeat
LOOK_AT_LOOP = 0.25  # seconds between two looks at whether the loop turns
STALL = 1.0  # seconds that it stood still, from which on it is worth a line in the log


@dataclass
class Held:
    """A run this process holds the lease of."""

    context: RunContext
    task: asyncio.Task[None]
    control: RunControl
    stopped_at: float | None = None  # of the loop's clock

    @property
    def run(self) -> Run:
        return self.context.run


class Engine:
    """Owns the loop's thread. `with Engine(name) as engine:` starts and ends it."""

    def __init__(
        self, name: str, *, concurrency: int = settings.WORKER_CONCURRENCY, alone: bool = False
    ) -> None:
        """`alone`: for suspects, one at a time."""
        self._name = name
        self._concurrency = concurrency
        self._alone = alone
        self._quarantine = Quarantine()
        self._unasked: set[asyncio.Task[str]] = set()
        """Runs begun without RQ, while Redis was away."""
        self._claims: set[asyncio.Task[Any]] = set()
        """All that were begun, from before they are ours until after they are not."""
        self._held: dict[UUID, Held] = {}
        self._started: set[Future[str]] = set()
        self._draining = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._stack = AsyncExitStack()
        self._graphs: Graphs
        self._answers: Answers
        self._answering: set[asyncio.Task[None]] = set()
        self._redis: AsyncRedis
        self._renewed_at = self._loop.time()
        self._watches: list[asyncio.Task[None]] = []

    def __enter__(self) -> Engine:
        self._thread.start()
        self._call(self._open()).result(START_LIMIT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call(self._close()).result(START_LIMIT)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(START_LIMIT)
            # What is still under way now is never ended: whoever waits for it would keep the process from its end.
            for future in list(self._started):
                future.cancel()

    def start(self, run_id: str) -> Future[str]:
        """Claims the run and performs it. The future holds what became of it: its status, or why it was not ours."""
        future = self._call(self._claim_and_perform(run_id))
        self._started.add(future)
        future.add_done_callback(self._started.discard)
        return future

    def perform(self, run_id: str) -> str:
        """The same, waiting for the end."""
        return self.start(run_id).result()

    def drain(self) -> None:
        """No new claims; every run is cut at its next step, checkpointed and given back."""
        self._draining = True
        for held in list(self._held.values()):
            held.control.request_drain()

    def join(self, limit: float) -> None:
        """Waits for the runs at most `limit` seconds, then gives the rest back where they stand."""
        self._call(self._join(limit)).result(limit + START_LIMIT)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _open(self) -> None:
        self._redis = async_redis_client()
        self._stack.push_async_callback(self._redis.aclose, close_connection_pool=True)
        self._stack.push_async_callback(llm.close)
        self._graphs = Graphs(await self._stack.enter_async_context(open_checkpointer()))
        self._answers = Answers(self._graphs, self._redis)
        watches: list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]] = [
            (settings.RUN_HEARTBEAT, self._renew),
            (RECONCILE_INTERVAL, self._reconcile),
        ]
        self._watches = [self._loop.create_task(_every(interval, work)) for interval, work in watches]
        self._watches += [self._loop.create_task(each) for each in (self._listen(), self._watch_loop())]

    async def _close(self) -> None:
        self._draining = True
        await end(*self._watches)
        await self._join_held(0)
        if under_way := self._claims | self._answering:
            await asyncio.wait(under_way, timeout=LEAVE_WITHIN)
        await self._stack.aclose()

    async def _claim_and_perform(self, run_id: str) -> str:
        if (this := asyncio.current_task()) is not None:
            self._claims.add(this)
            this.add_done_callback(self._claims.discard)
        if self._is_draining():
            return "left for another worker"
        run = await in_database(Run.claim, run_id, self._name, alone=self._alone)
        if run is None:
            return "not claimed"
        if self._is_draining():  # since a moment ago
            await in_database(run.release)
            return "left for another worker"
        context, control = RunContext(run), RunControl()
        task = self._loop.create_task(self._perform(context, control), name=f"run {run_id}")
        self._held[run.pk] = Held(context, task, control)
        try:
            await task
        except LeaseLost:
            logger.info("lease lost", extra={"action": "lease_lost", "run_id": run_id})
            return "lease lost"
        finally:
            self._held.pop(run.pk, None)
        return run.status

    def _is_draining(self) -> bool:
        return self._draining

    async def _perform(self, context: RunContext, control: RunControl) -> None:
        announced = asyncio.create_task(in_database(_announce_start, context.run))
        try:
            graph = self._graphs.get(context.run.assistant.graph_id)
            runner = Runner(context, graph, self._redis, control)
        except Exception as error:
            await self._not_built(context.run, error)
        else:
            await runner.execute()
        finally:
            await announced

    async def _not_built(self, run: Run, error: Exception) -> None:
        logger.exception("graph not built", extra={"action": "graph_not_built", "run_id": str(run.pk)})
        kind, reason = type(error).__name__, llm.explain(error)
        await in_database(run.finish, RunStatus.ERROR, error=reason, error_type=kind)

    async def _renew(self) -> None:
        """Keeps the leases; a run that is no longer ours is stopped at once, and so is one a person stopped."""
        held = {held.run.pk: held.run.attempt for held in self._held.values()}
        asked_at = self._loop.time()
        if not held:
            self._renewed_at = asked_at
            return
        try:
            async with asyncio.timeout(settings.RUN_HEARTBEAT):
                ours = await in_database(Run.renew, held.items())
        except Exception:
            if self._loop.time() - self._renewed_at > settings.RUN_LEASE - settings.RUN_HEARTBEAT:
                self._lose(held.keys())  # before somebody else may take them over
            raise
        self._renewed_at = asked_at
        self._lose(held.keys() - ours)
        for run_id in await in_database(_to_be_stopped, ours):
            self._stop(run_id)

    async def _reconcile(self) -> None:
        mended = await in_database(runs.reconcile)
        if any(mended):
            counts = {"taken_over": mended.taken_over, "enqueued": mended.enqueued}
            logger.info("reconciled", extra={"action": "reconciled", **counts})
        if self._alone or self._draining:
            return
        if mended.suspects:
            self._quarantine.open()
        for run_id in mended.unreached[: max(0, self._concurrency - len(self._held))]:
            self._unasked.add(task := self._loop.create_task(self._claim_and_perform(str(run_id))))
            task.add_done_callback(self._unasked.discard)

    async def _listen(self) -> None:
        """For stops, and for short questions."""
        channels = [runs.STOP_CHANNEL] if self._alone else [runs.STOP_CHANNEL, calls.NEWS]
        while True:
            with suppress(RedisError, OSError):
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(*channels)
                    while True:
                        message = await pubsub.get_message(timeout=5.0)
                        if message is not None:
                            self._hear(message["channel"], message["data"])
            await asyncio.sleep(1.0)  # Redis is away; the heartbeat finds stops meanwhile

    def _hear(self, channel: str, data: str) -> None:
        if channel == runs.STOP_CHANNEL:
            self._stop(UUID(data))
        elif not self._draining:
            self._answering.add(task := self._loop.create_task(self._answers.take_one()))
            task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and task.exception() is not None:  # who asked hears nothing, and says so
            logger.warning(
                "call not answered", exc_info=task.exception(), extra={"action": "call_unanswered"}
            )

    async def _watch_loop(self) -> None:
        """Says when an asynchronous node or tool that blocks has held up every run of this worker."""
        while True:
            due = self._loop.time() + LOOK_AT_LOOP
            await asyncio.sleep(LOOK_AT_LOOP)
            if (late := self._loop.time() - due) > STALL:
                runs = [str(run_id) for run_id in self._held]
                logger.warning(
                    "loop stood still",
                    extra={"action": "loop_stall", "seconds": round(late, 2), "runs": runs},
                )

    def _lose(self, run_ids: Iterable[UUID]) -> None:
        for run_id in run_ids:
            held = self._held.get(run_id)
            if held is not None and held.run.status == RunStatus.RUNNING:  # not one that has just ended
                held.context.is_lost = True
                self._stop(run_id)

    def _stop(self, run_id: UUID) -> None:
        held = self._held.get(run_id)
        if held is None or held.context.is_ending:
            return
        now = self._loop.time()
        # Again: a node or tool may have kept the first one to itself.
        if held.stopped_at is None or now - held.stopped_at > STOP_AGAIN:
            held.stopped_at = now
            held.task.cancel()

    async def _join(self, limit: float) -> None:
        await asyncio.gather(asyncio.to_thread(self._quarantine.close, limit), self._join_held(limit))

    async def _join_held(self, limit: float) -> None:
        tasks = [held.task for held in self._held.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=limit)
        for held in [held for held in self._held.values() if held.task in late]:
            held.context.is_lost = True
            await in_database(held.run.release)
            held.task.cancel()
        if late:
            await asyncio.wait(late, timeout=LEAVE_WITHIN)


async def _every(interval: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            await work()
        except Exception:  # a watch must outlive a database that is away
            logger.warning("watch failed", exc_info=True, extra={"action": "watch_failed"})


def _to_be_stopped(run_ids: set[UUID]) -> list[UUID]:
    asked = Run.objects.filter(pk__in=run_ids, cancel_requested_at__isnull=False)
    return list(asked.values_list("pk", flat=True))


def _announce_start(run: Run) -> None:
    signals.run_changed.send(Run, run=run)
