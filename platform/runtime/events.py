"""The log of a thread: one Redis Stream, written by one script call a flush, followed by any number of readers.

Ids are "<epoch>-<sequence>". The epoch is the Redis server's clock when the log was begun, so ids keep growing
when Redis loses the log and it is begun again; a reader whose epoch is gone gets one "reset" event, renders from
the database and goes on from there. Redis is never the only copy of anything but the deltas of a live message.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from runtime import hub
from runtime.redis_client import redis_client
from runtime.schemas import Event, EventName

logger = logging.getLogger(__name__)

START = "0-0"
RETRY_DELAY = 1.0  # seconds, while Redis is away
PAGE = 500  # events that a reader who is far behind holds at once
PAGE_CHARS = 1_000_000  # and about so many characters of them: fewer events where they are large
FIRST_PAGE = 25  # events, while nobody knows how large they are

# Appends all entries at once, tells the readers, and keeps the log's length and life bounded.
# KEYS: log, channel. ARGV: epoch the writer believes in ('' = any), length, life in ms, then the entries.
# Answers the last id, or '' without writing when the epoch is another: the log was lost since.
APPEND = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local epoch, sequence
if #newest == 0 then
  local now = redis.call('TIME')
  epoch, sequence = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)), 0
else
  epoch, sequence = string.match(newest[1][1], '^(%d+)-(%d+)$')
end
if ARGV[1] ~= '' and ARGV[1] ~= epoch then return '' end
local id = ''
for i = 4, #ARGV do
  sequence = sequence + 1
  id = epoch .. '-' .. string.format('%.0f', sequence)
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], id, 'e', ARGV[i])
  redis.call('PUBLISH', KEYS[2], id .. ' ' .. ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return id
"""


def log_key(thread_id: UUID | str) -> str:
    return f"thread:{{{thread_id}}}:log"


def channel_name(thread_id: UUID | str) -> str:
    return f"thread:{{{thread_id}}}:live"


def entry(event: EventName, run_id: UUID | str, data: dict[str, Any]) -> str:
    return json.dumps({"event": event, "run_id": str(run_id), "data": data}, separators=(",", ":"))


def parse(id: str, payload: str) -> Event:
    body = json.loads(payload)
    return Event(id=id, event=body["event"], run_id=body["run_id"], data=body["data"])


def position(id: str) -> tuple[int, int]:
    """(epoch, sequence), comparable. ValueError when it is no id of ours."""
    epoch, _, sequence = id.partition("-")
    return int(epoch), int(sequence)


def _keys_and_args(thread_id: UUID | str, epoch: str, entries: Sequence[str]) -> tuple[list[str], list[Any]]:
    life = int(settings.EVENT_LOG_TTL * 1000)
    return [log_key(thread_id), channel_name(thread_id)], [epoch, settings.EVENT_LOG_LENGTH, life, *entries]


def announce(thread_id: UUID | str, event: EventName, run_id: UUID | str, data: dict[str, Any]) -> None:
    """Appends one event that is already true in the database. Redis being away loses nothing but promptness."""
    keys, args = _keys_and_args(thread_id, "", [entry(event, run_id, data)])
    try:
        redis_client().eval(APPEND, len(keys), *keys, *args)
    except RedisError:
        logger.warning(
            "event not announced", extra={"action": "event_not_announced", "thread_id": str(thread_id)}
        )


class Writer:
    """Appends a run's live events from the worker, and notices when Redis lost the log in between."""

    def __init__(self, redis: AsyncRedis, thread_id: UUID, run_id: UUID) -> None:
        self._append = redis.register_script(APPEND)
        self._thread_id = thread_id
        self._run_id = run_id
        self._epoch = ""

    async def append(self, entries: Sequence[str], *, snapshot: Sequence[str]) -> None:
        """Appends `entries`; in place of them `snapshot`, the state they lead to, when the log was lost."""
        keys, args = _keys_and_args(self._thread_id, self._epoch, entries)
        try:
            id = await self._append(keys=keys, args=args)
            if not id:
                keys, args = _keys_and_args(self._thread_id, "", snapshot)
                id = await self._append(keys=keys, args=args)
        except RedisError:
            # The message itself is kept in the database at its end; readers see it then.
            logger.warning(
                "events not appended", extra={"action": "events_lost", "run_id": str(self._run_id)}
            )
            self._epoch = "0"  # what follows must begin with a snapshot
            return
        self._epoch = str(id).partition("-")[0]


async def last_id(thread_id: UUID | str) -> str:
    """The newest id of the log; START when there is no log."""
    newest = await hub.redis().xrevrange(log_key(thread_id), count=1)
    return str(newest[0][0]) if newest else START


async def read(thread_id: UUID | str, after: str = START, count: int | None = None) -> list[Event]:
    """What the log has after `after`, oldest first, at most `count`; one "reset" when `after` is no longer in it."""
    return (await _page(thread_id, after, count))[0]


async def _page(thread_id: UUID | str, after: str, count: int | None) -> tuple[list[Event], int]:
    """And how many characters they have."""
    redis = hub.redis()
    key = log_key(thread_id)
    oldest = await redis.xrange(key, count=1)
    if not oldest:
        return ([] if after == START else [_reset(START)]), 0
    if after != START and not _is_within(after, str(oldest[0][0])):
        return [_reset(await last_id(thread_id))], 0
    found: Any = await redis.xrange(key, min=f"({after}", count=count)
    return [parse(id, fields["e"]) for id, fields in found], sum(len(fields["e"]) for _, fields in found)


def _next_count(count: int, size: int) -> int:
    """Of the page after one of so many characters: up to twice as many events, if they are likely to fit."""
    return max(1, min(2 * count, PAGE, count * PAGE_CHARS // max(size, 1)))


def _is_within(after: str, oldest: str) -> bool:
    """True when every event after `after` is still in a log that begins at `oldest`."""
    (epoch, sequence), (first_epoch, first_sequence) = position(after), position(oldest)
    return epoch == first_epoch and sequence >= first_sequence - 1


def _reset(id: str) -> Event:
    return Event(id=id, event="reset", run_id="", data={})


async def follow(thread_id: UUID | str, after: str = START) -> AsyncIterator[list[Event]]:
    """Yields the thread's events newer than `after`, oldest first, for ever: each once, none left out.

    They come in batches of what there is, never empty. "reset", alone in its batch, comes when the log no longer
    has what a reader missed; one that is merely slow is caught up from the log.
    """
    cursor, count = after, min(FIRST_PAGE, PAGE)
    async with hub.subscribe(channel_name(thread_id)) as inbox:
        while True:
            try:
                missed, size = await _page(thread_id, cursor, count)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_DELAY)
                continue
            if missed:
                yield missed
                cursor = missed[-1]["id"]
            asked, count = count, _next_count(count, size)
            if len(missed) == asked:
                continue  # there may be more
            async for items in inbox:
                live = [(id, payload) for id, _, payload in (item.partition(" ") for item in items)]
                logs = {position(id)[0] for id, _ in live} | {position(cursor)[0]} - {0}
                if len(logs) > 1:
                    break  # a new log was begun: read() says "reset"
                fresh = [parse(id, payload) for id, payload in live if position(id) > position(cursor)]
                if fresh:
                    yield fresh
                    cursor = fresh[-1]["id"]


def notify(channel: str) -> None:
    """Tells whoever looks at a list that it changed; a notice is not kept."""
    try:
        redis_client().publish(f"notice:{channel}", "changed")
    except RedisError:
        logger.warning("notice not sent", extra={"action": "notice_unsent", "channel": channel})


async def notices(channel: str) -> AsyncIterator[None]:
    """Yields whenever the list called `channel` may have changed; once at the start."""
    async with hub.subscribe(f"notice:{channel}") as inbox:
        while True:
            yield
            async for _ in inbox:
                yield
