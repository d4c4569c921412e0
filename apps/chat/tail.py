"""The end of a thread's log: how far it goes, and the messages that are still being streamed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast
from uuid import UUID

from redis.exceptions import RedisError
from runtime import events
from runtime.models import RunStatus
from runtime.redis_client import redis_client
from runtime.schemas import Event

logger = logging.getLogger(__name__)

CHUNK = 500  # entries a read


@dataclass
class OpenMessage:
    """An assistant's message of which not all has arrived; nowhere but in the log."""

    key: str
    run_id: str
    text: str = ""


@dataclass(frozen=True)
class Tail:
    cursor: str
    """Id of the newest event folded in: whoever shows `open` goes on strictly after it."""
    open: tuple[OpenMessage, ...] = ()


def read_tail(thread_id: UUID) -> Tail:
    """The log as it stands; an empty one while Redis is away, from which a reader catches up later."""
    try:
        turn = list(_newest_turn(thread_id))
    except RedisError:
        logger.warning("log not read", extra={"action": "log_unread", "thread_id": str(thread_id)})
        return Tail(events.START)
    if not turn:
        return Tail(events.START)
    return Tail(turn[0]["id"], tuple(fold(reversed(turn))))


def _newest_turn(thread_id: UUID) -> Iterator[Event]:
    """Events newest first, back to where the newest run began: nothing older can still be open."""
    before = "+"
    while chunk := _entries(thread_id, before):
        for id, fields in chunk:
            event = events.parse(id.decode(), fields[b"e"].decode())
            yield event
            if event["event"] == "run" and event["data"]["status"] == RunStatus.RUNNING:
                return
        before = f"({chunk[-1][0].decode()}"


def _entries(thread_id: UUID, before: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    found = redis_client().xrevrange(events.log_key(thread_id), max=before, count=CHUNK)
    return cast(list[tuple[bytes, dict[bytes, bytes]]], found)


def fold(log: Iterable[Event]) -> list[OpenMessage]:
    """What is open after these events, in the order in which it began."""
    open: dict[str, OpenMessage] = {}
    for event in log:
        key, text = event["data"].get("key", ""), event["data"].get("text", "")
        match event["event"]:
            case "message_started" | "snapshot":
                open[key] = OpenMessage(key, event["run_id"], text)
            case "token" if key in open:
                open[key].text += text
            case "message":
                open.pop(key, None)
            # An attempt that begins, or a run that ends, leaves nothing of an earlier attempt behind.
            case "run" if event["data"]["status"] != RunStatus.PENDING:
                open = {key: message for key, message in open.items() if message.run_id != event["run_id"]}
    return list(open.values())
