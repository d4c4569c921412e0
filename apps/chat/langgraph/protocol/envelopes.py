"""The protocol's own shapes: events and where they stand, commands, and what is said to a command."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from runtime import events

Json = dict[str, Any]

ErrorCode = Literal[
    "invalid_argument",
    "unknown_command",
    "unknown_error",
    "no_such_run",
    "no_such_subscription",
    "no_such_interrupt",
    "permission_denied",
    "not_supported",
]

CHANNELS = (
    "values",
    "updates",
    "messages",
    "tools",
    "lifecycle",
    "input",
    "checkpoints",
    "tasks",
    "custom",
)

ENDS = ("completed", "failed", "interrupted")
FIRST_MOMENT = (
    1_735_689_600_000  # milliseconds: numbers count from 2025, and are exact in JavaScript until 2094
)
BITS_OF_A_MOMENT = 12
EACH = 256  # numbers that one entry of the log has


def event(method: str, data: Any, namespace: Sequence[str] = ()) -> Json:
    params = {"namespace": list(namespace), "timestamp": int(time.time() * 1000), "data": data}
    return {"type": "event", "method": method, "params": params}


def numbered(id: str, told: Sequence[Json]) -> list[Json]:
    """The events that one entry of the log comes to, each with its id and its place.

    The end of a run has the last place, whatever the database still has to be told before it.
    """
    places = [EACH - 1 if is_end(each) else min(n, EACH - 2) for n, each in enumerate(told)]
    return [
        {**each, "event_id": f"{id}.{'end' if place == EACH - 1 else n}", "seq": seq_of(id, place)}
        for n, (place, each) in enumerate(zip(places, told, strict=True))
    ]


def is_end(told: Json) -> bool:
    params = told["params"]
    return told["method"] == "lifecycle" and not params["namespace"] and params["data"]["event"] in ENDS


def seq_of(id: str, n: int = EACH - 1) -> int:
    """The place of the entry's n-th event; by default of its last one.

    Grows from one log to the next, too: no thread is told 16 entries a millisecond, so the log that is begun anew is
    ahead of whatever was told before.
    """
    epoch, sequence = events.position(id)
    return (max(0, epoch - FIRST_MOMENT) << BITS_OF_A_MOMENT) + sequence * EACH + n


def seq_from(last_event_id: str) -> int | None:
    """Of what a client says it heard last: a number, or the id of an event. None for anything else."""
    if last_event_id.isascii() and last_event_id.isdigit():
        return int(last_event_id[:20])
    id, _, n = last_event_id.partition(".")
    try:
        return seq_of(id, EACH - 1 if n == "end" else min(int(n), EACH - 2))
    except ValueError:
        return None


def channel_of(told: Json) -> str:
    if told["method"] == "input.requested":
        return "input"
    if told["method"] == "custom" and told["params"]["data"].get("name"):
        return f"custom:{told['params']['data']['name']}"
    return str(told["method"])


# What comes in


def _known(channels: list[str]) -> list[str]:
    unknown = [
        name
        for name in channels
        if name not in CHANNELS and not (name.startswith("custom:") and len(name) > len("custom:"))
    ]
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)[:200]}; known are {', '.join(CHANNELS)}")
    return channels


Segment = Annotated[str, Field(max_length=300)]
Number = Annotated[int, Field(ge=0, strict=True)]


class Subscription(BaseModel):
    """Which events of a thread are wanted."""

    channels: Annotated[
        list[Annotated[str, Field(max_length=200)]],
        AfterValidator(_known),
        Field(min_length=1, max_length=50),
    ]
    namespaces: (
        Annotated[list[Annotated[list[Segment], Field(max_length=50)]], Field(max_length=200)] | None
    ) = None
    depth: Number | None = None
    since: Number | None = None

    def takes(self, told: Json) -> bool:
        channel = channel_of(told)
        is_named = channel in self.channels
        is_named = is_named or (channel.startswith("custom:") and "custom" in self.channels)
        return is_named and self._is_near(told["params"]["namespace"])

    def _is_near(self, namespace: list[str]) -> bool:
        """Without a prefix nothing is left out, as the clients have it: they choose once more."""
        return not self.namespaces or any(
            _is_below(namespace, prefix)
            and (self.depth is None or len(namespace) - len(prefix) <= self.depth)
            for prefix in self.namespaces
        )


def _is_below(namespace: list[str], prefix: list[str]) -> bool:
    """A segment is `node:task`; a prefix may leave the task out."""
    return len(prefix) <= len(namespace) and all(
        part == wanted or (":" not in wanted and part.partition(":")[0] == wanted)
        for part, wanted in zip(namespace, prefix, strict=False)
    )


class Command(BaseModel):
    id: Annotated[int, Field(strict=True, ge=0)]
    method: Annotated[str, Field(strict=True, max_length=100)]
    params: Json = {}


class RunStart(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    assistant_id: str
    input: Any = None
    config: Json | None = None
    metadata: Json | None = None
    multitask_strategy: Literal["enqueue", "reject", "interrupt", "rollback"] = Field(
        default="enqueue", alias="multitaskStrategy"
    )


class Response(BaseModel):
    interrupt_id: Annotated[str, Field(max_length=100)]
    namespace: list[Segment] = []
    response: Any = None


class InputRespond(BaseModel):
    """One answer, or several."""

    interrupt_id: Annotated[str, Field(max_length=100)] | None = None
    namespace: list[Segment] = []
    response: Any = None
    responses: Annotated[list[Response], Field(min_length=1, max_length=100)] | None = None
    update: Any = None
    goto: Any = None
    config: Json | None = None
    metadata: Json | None = None


class Unsubscribe(BaseModel):
    subscription_id: Annotated[str, Field(max_length=100)]


# What goes out


def success(id: int, result: Json, applied_through: int | None = None) -> Json:
    said: Json = {"type": "success", "id": id, "result": result}
    return said if applied_through is None else {**said, "meta": {"applied_through_seq": applied_through}}


def applied_through(cursor: str) -> int | None:
    """The number of the entry at the cursor; None at the beginning of a log."""
    return None if cursor == events.START else seq_of(cursor)


def error(id: int | None, code: ErrorCode, message: str) -> Json:
    return {"type": "error", "id": id, "error": code, "message": message}
