"""Short questions to a worker, for what only an engine can answer: asked over Redis, answered in time or not at all.

Whoever takes the entry from the list answers it. What nobody took in time is taken back: then nothing has happened.
"""

from __future__ import annotations

import json
from typing import Any, Literal, cast
from uuid import uuid4

from redis.exceptions import RedisError

from runtime.exceptions import CallRefused, NoWorker
from runtime.redis_client import blocking_redis_client

Name = Literal["describe", "state", "history", "update_state"]

CALLS = "calls"  # the list of entries that nobody has taken yet
NEWS = "calls:news"  # the channel that tells of one
LIMIT = 10  # seconds that one who asks waits
KEPT = 30  # seconds until an answer, or an entry, that nobody wants is forgotten


def answer_key(id: str) -> str:
    return f"calls:{id}:answer"


def ask(name: Name, **arguments: Any) -> Any:
    """What a worker answers. Raises NoWorker, and CallRefused when it was refused there."""
    id = uuid4().hex
    entry = json.dumps({"id": id, "name": name, "arguments": arguments})
    try:
        answer = _exchange(id, entry)
    except RedisError as error:
        raise NoWorker from error
    if answer is None:
        raise NoWorker
    if "refused" in answer:
        raise CallRefused(answer["refused"], answer["status"])
    return answer["result"]


def _exchange(id: str, entry: str) -> dict[str, Any] | None:
    redis = blocking_redis_client()
    redis.rpush(CALLS, entry)
    redis.expire(CALLS, KEPT)
    if redis.publish(NEWS, id):
        found = cast(Any, redis.blpop([answer_key(id)], LIMIT))
        if found:
            return cast(dict[str, Any], json.loads(found[1]))
    if not redis.lrem(CALLS, 1, entry):  # somebody has it: one more look, it may just have answered
        late = cast(Any, redis.lpop(answer_key(id)))
        return json.loads(late) if late else None
    return None
