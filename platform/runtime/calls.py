"""Short questions to a worker, for what only an engine can answer: asked over Redis, answered in time or not at all.

Whoever takes the entry from the list answers it. What nobody took in time is taken back: then nothing has happened.
"""

from __future__ import annotations

import json
from typing import Any, Literal, cast
from uuid import uuid4

from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from runtime.exceptions import CallRefused, NoWorker
from runtime.redis_client import blocking_redis_client

Name = Literal["describe", "subgraphs", "state", "history", "update_state", "check_fork", "prune"]

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
    if "refused" in answer:
        raise CallRefused(answer["refused"], answer["status"])
    return answer["result"]


def _exchange(id: str, entry: str) -> dict[str, Any]:
    redis = blocking_redis_client()
    redis.rpush(CALLS, entry)
    redis.expire(CALLS, KEPT)
    if redis.publish(NEWS, id):
        found = cast(Any, redis.blpop([answer_key(id)], LIMIT))
        if found:
            return cast(dict[str, Any], json.loads(found[1]))
    if redis.lrem(CALLS, 1, entry):
        raise NoWorker
    late = cast(Any, redis.lpop(answer_key(id)))  # it may just have answered
    if not late:
        raise NoWorker(_("A worker began this and did not answer in time. Look before you ask again."))
    return cast(dict[str, Any], json.loads(late))
