"""The log of a thread, on a real Redis: each event once, in order, whatever happens to the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from embedded.valkey import Valkey
from runtime import events, hub
from runtime.redis_client import async_redis_client, redis_client
from runtime.schemas import Event


@pytest.fixture
async def thread_id(valkey: Valkey) -> AsyncIterator[UUID]:
    yield uuid4()
    await hub.close()


def say(thread_id: UUID, *texts: str) -> None:
    for text in texts:
        events.announce(thread_id, "token", "run", {"text": text})


def texts(found: list[Event]) -> list[str]:
    return [event["data"]["text"] for event in found]


async def take(stream: AsyncIterator[list[Event]], count: int) -> list[Event]:
    """So many events; a batch never goes beyond what was announced before it was asked for."""
    found: list[Event] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += await anext(stream)
    assert len(found) == count
    return found


async def test_it_reads_strictly_after_an_id(thread_id: UUID) -> None:
    say(thread_id, "a", "b", "c")
    everything = await events.read(thread_id)

    after_first = await events.read(thread_id, everything[0]["id"])

    assert texts(everything) == ["a", "b", "c"]
    assert texts(after_first) == ["b", "c"]


async def test_a_reader_gets_the_past_and_then_what_comes(thread_id: UUID) -> None:
    say(thread_id, "a", "b")
    stream = events.follow(thread_id)
    past = await take(stream, 2)

    await asyncio.to_thread(say, thread_id, "c", "d")

    assert texts(past + await take(stream, 2)) == ["a", "b", "c", "d"]
    await stream.aclose()


@pytest.mark.parametrize("count", [5, 6, 7])
async def test_a_reader_far_behind_is_caught_up_in_pages(
    thread_id: UUID, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(events, "PAGE", 3)
    said = [str(n) for n in range(count)]
    say(thread_id, *said)
    stream = events.follow(thread_id)

    past = [await anext(stream) for _ in range(0, count, 3)]
    await asyncio.to_thread(say, thread_id, "live")

    assert [len(batch) for batch in past] == [len(said[at : at + 3]) for at in range(0, count, 3)]
    assert texts([event for batch in past for event in batch] + await take(stream, 1)) == [*said, "live"]
    await stream.aclose()


async def test_pages_of_large_events_have_few_of_them(
    thread_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE_CHARS", 10_000)
    monkeypatch.setattr(events, "FIRST_PAGE", 4)
    said = [str(n) * 5_000 for n in range(8)]
    say(thread_id, *said)
    stream = events.follow(thread_id)

    past = [await anext(stream)]
    while sum(map(len, past)) < len(said):
        past.append(await anext(stream))

    assert [len(batch) for batch in past] == [4, 1, 1, 1, 1]
    assert texts([event for batch in past for event in batch]) == said
    await stream.aclose()


async def test_many_readers_each_get_everything_once(thread_id: UUID) -> None:
    streams = [events.follow(thread_id) for _ in range(20)]
    readers = [asyncio.create_task(take(stream, 200)) for stream in streams]
    await asyncio.sleep(0.1)

    await asyncio.to_thread(say, thread_id, *(str(n) for n in range(200)))

    for reader in readers:
        assert texts(await reader) == [str(n) for n in range(200)]
    for stream in streams:
        await stream.aclose()


async def test_a_slow_reader_is_caught_up_from_the_log(
    thread_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "INBOX_SIZE", 4)
    stream = events.follow(thread_id)
    waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)

    await asyncio.to_thread(say, thread_id, *(str(n) for n in range(100)))  # far more than its inbox holds

    first = await waiting
    assert texts(first + await take(stream, 100 - len(first))) == [str(n) for n in range(100)]
    await stream.aclose()


async def test_a_cursor_of_a_lost_log_is_answered_with_a_reset(thread_id: UUID) -> None:
    say(thread_id, "a")
    cursor = (await events.read(thread_id))[-1]["id"]
    redis_client().delete(events.log_key(thread_id))
    await asyncio.sleep(0.002)
    say(thread_id, "b")

    found = await events.read(thread_id, cursor)

    assert [event["event"] for event in found] == ["reset"]
    assert events.position(found[0]["id"]) > events.position(cursor)
    assert await events.read(thread_id, found[0]["id"]) == []


async def test_a_reader_whose_log_is_lost_is_told_and_goes_on(thread_id: UUID) -> None:
    say(thread_id, "a")
    stream = events.follow(thread_id)
    await take(stream, 1)

    redis_client().flushall()
    await asyncio.sleep(0.002)
    await asyncio.to_thread(say, thread_id, "b")
    reset = (await take(stream, 1))[0]
    await asyncio.to_thread(say, thread_id, "c")

    assert reset["event"] == "reset"
    assert texts(await take(stream, 1)) == ["c"]
    await stream.aclose()


async def test_a_trimmed_cursor_is_answered_with_a_reset(thread_id: UUID) -> None:
    say(thread_id, *"abcdef")
    first = (await events.read(thread_id))[0]["id"]
    redis_client().xtrim(events.log_key(thread_id), maxlen=2, approximate=False)

    assert [event["event"] for event in await events.read(thread_id, first)] == ["reset"]


async def test_a_writer_whose_log_is_lost_sends_a_snapshot(thread_id: UUID) -> None:
    redis = async_redis_client()
    writer = events.Writer(redis, thread_id, uuid4())
    await writer.append([_token("Hel")], snapshot=[_token("Hel")])
    redis_client().flushall()
    await asyncio.sleep(0.002)

    await writer.append([_token("lo")], snapshot=[_token("Hello")])
    await writer.append([_token("!")], snapshot=[_token("Hello!")])

    assert texts(await events.read(thread_id)) == ["Hello", "!"]
    await redis.aclose(close_connection_pool=True)


async def test_ids_only_grow_when_the_log_is_begun_again(thread_id: UUID) -> None:
    say(thread_id, "a")
    before = await events.last_id(thread_id)
    redis_client().flushall()
    await asyncio.sleep(0.002)
    say(thread_id, "b")

    assert events.position(await events.last_id(thread_id)) > events.position(before)


async def test_a_log_has_a_bounded_life(thread_id: UUID) -> None:
    say(thread_id, "a")

    assert 0 < redis_client().pttl(events.log_key(thread_id)) <= 3600 * 1000


async def test_a_notice_reaches_whoever_looks(thread_id: UUID) -> None:
    stream = events.notices("approvals")
    await anext(stream)
    waiting: asyncio.Task[Any] = asyncio.create_task(asyncio.wait_for(anext(stream), 5))
    await asyncio.sleep(0.05)

    await asyncio.to_thread(events.notify, "approvals")

    await waiting
    await stream.aclose()


def _token(text: str) -> str:
    return events.entry("token", "run", {"text": text})
