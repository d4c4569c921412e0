"""Damage on request. A test writes it into the model's name, `demo-model+429x2+delay=0.01`, so that many
tests can share one process, each with its own faults.

A fault is `name`, `name=value`, `namexN` or `namexN=value`; N: only the first N answers that it would spoil,
per API key and model name. Several are joined by "+" or ",". The names are in the tables at the end.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from embedded.demo_model.exceptions import Abort, ApiError
from embedded.demo_model.reply import Call, Reply
from embedded.demo_model.schemas import JSONObject

MODEL = "demo-model"
FOREVER = math.inf
HEALTHY_CHUNKS = 4  # before a stream goes wrong

#: A chunk, raw bytes of the stream, or seconds of silence.
Event: TypeAlias = JSONObject | bytes | float

_FAULT = re.compile(r"(?P<name>[a-z_]+|\d{3})(?:x(?P<times>\d+))?(?:=(?P<value>.*))?")
_SPLIT_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Fault:
    name: str
    value: str = ""
    #: How many answers it spoils; None: all.
    times: int | None = None


class Faults:
    """The faults of one request, taken from its model name."""

    def __init__(self, model: str, *, api_key: str, tally: Counter[tuple[str, str, str]]) -> None:
        self._faults = parse(model)
        self._key = (api_key, model)
        self._tally = tally

    def delay(self, default: float) -> float:
        """Seconds before each token."""
        for fault in self._faults:
            if fault.name == "delay":
                return _number(fault, default)
            if fault.name == "drip":
                return _number(fault, 1.0)
        return default

    def check_status(self) -> None:
        """ApiError when a status was asked for."""
        for fault in self._faults:
            if fault.name in STATUSES and self._is_due(fault):
                raise ApiError(int(fault.name), STATUSES[fault.name], headers=self._retry_after())

    def spoil_reply(self, reply: Reply) -> Reply:
        for fault in self._faults:
            if fault.name in REPLIES:
                spoiled = REPLIES[fault.name](reply, fault)
                if spoiled is not reply and self._is_due(fault):
                    reply = spoiled
        return reply

    def spoil_events(self, events: Iterator[Event]) -> Iterator[Event]:
        for fault in self._faults:
            if fault.name in EVENTS and self._is_due(fault):
                events = EVENTS[fault.name](events, fault)
        return events

    def _is_due(self, fault: Fault) -> bool:
        if fault.times is None:
            return True
        key = (*self._key, fault.name)
        self._tally[key] += 1
        return self._tally[key] <= fault.times

    def _retry_after(self) -> dict[str, str]:
        value = next((fault.value for fault in self._faults if fault.name == "retry_after"), "")
        return {"Retry-After": value} if value else {}


def parse(model: str) -> list[Fault]:
    """The faults in a model name. ApiError 404 for another model, 400 for an unknown fault."""
    name, *written = re.split(r"[+,]", model)
    if name != MODEL:
        raise ApiError(404, f"The model {name!r} does not exist here. Use {MODEL!r}.", code="model_not_found")
    return [_parse_one(text.strip()) for text in written]


def _parse_one(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    if match is None or match["name"] not in NAMES:
        known = ", ".join(sorted(NAMES))
        raise ApiError(400, f"Unknown fault {text!r}. Known: {known}.", code="unknown_fault")
    fault = Fault(match["name"], match["value"] or "", int(match["times"]) if match["times"] else None)
    if fault.value and fault.name in NUMERIC:
        _number(fault, 0)
    return fault


def _number(fault: Fault, default: float) -> float:
    """The value as a number of at least 0. ApiError 400 when it is none."""
    if not fault.value:
        return default
    with suppress(ValueError):
        number = float(fault.value)
        if 0 <= number < math.inf:
            return number
    message = f"Fault {fault.name} needs a number, not {fault.value!r}."
    raise ApiError(400, message, code="unknown_fault")


def _cut(reply: Reply, fault: Fault) -> Reply:
    """Half of the text, or all tool calls, and no finish reason."""
    text = reply.text if reply.calls else _half(reply.text)
    return replace(reply, text=text, finish_reason=None)


def _cut_tool(reply: Reply, fault: Fault) -> Reply:
    """The last call (or that of the tool `value`) ends inside a number, and the stream without a reason."""
    calls = _with_cut_call(reply.calls, fault.value)
    return reply if calls == reply.calls else replace(reply, calls=calls, finish_reason=None)


def _length(reply: Reply, fault: Fault) -> Reply:
    """As `cuttool` or half a text, ended in order with finish_reason "length"."""
    if not reply.calls and not fault.value:
        return replace(reply, text=_half(reply.text), finish_reason="length")
    calls = _with_cut_call(reply.calls, fault.value)
    return reply if calls == reply.calls else replace(reply, calls=calls, finish_reason="length")


def _tokens(reply: Reply, fault: Fault) -> Reply:
    """Nothing but `value` tokens of text."""
    return Reply(" ".join(["token"] * int(_number(fault, 100))))


def _half(text: str) -> str:
    return text[: len(text) // 2]


def _with_cut_call(calls: tuple[Call, ...], tool: str) -> tuple[Call, ...]:
    """`calls` up to the cut one: nothing can follow it."""
    at = max((index for index, call in enumerate(calls) if not tool or call.tool == tool), default=None)
    if at is None:
        return calls
    return (*calls[:at], replace(calls[at], arguments=cut_arguments(calls[at].arguments)))


def cut_arguments(arguments: str) -> str:
    """`arguments` up to the middle of their first number of several digits: 100 and 1042 become 10."""
    number = next((match for match in _SPLIT_NUMBER.finditer(arguments) if len(match[0]) > 1), None)
    if number is None:
        return _half(arguments)
    return arguments[: number.start() + len(number[0]) * 2 // 3]


def _hang(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    """Never a byte, not even a status line."""
    yield FOREVER


def _wait(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    """`value` seconds before the first byte."""
    yield _number(fault, 1.0)
    yield from events


def _stall(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    """A few chunks (`value`), then silence."""
    yield from _first_chunks(events, fault)
    yield FOREVER


def _comments(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    """Keep-alive comments for ever, one each `value` seconds, and no chunk."""
    while True:
        yield b": keep-alive\n\n"
        yield _number(fault, 0.1)


def _malformed(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    """A few chunks, then one that is not JSON."""
    yield from _first_chunks(events, fault)
    yield b'data: {"id": "chatcmpl-\n\n'


def _error_event(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    """A few chunks, then an error in place of a chunk."""
    yield from _first_chunks(events, fault)
    yield ApiError(500, "The demo model was asked for an error event.").as_json()


def _abort(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    """A few chunks, then the connection is gone without the end of the chunked body."""
    yield from _first_chunks(events, fault)
    raise Abort


def _first_chunks(events: Iterator[Event], fault: Fault) -> Iterator[Event]:
    count = int(_number(fault, HEALTHY_CHUNKS))
    yield from islice((event for event in events if not isinstance(event, bytes)), 2 * count)


#: Refused before anything is read.
STATUSES = {
    "401": "Incorrect API key provided.",
    "429": "Rate limit reached. Try again later.",
    "500": "The server had an error while processing your request.",
    "503": "The engine is currently overloaded. Try again later.",
}
#: Another reply.
REPLIES: dict[str, Callable[[Reply, Fault], Reply]] = {
    "cut": _cut,
    "cuttool": _cut_tool,
    "length": _length,
    "tokens": _tokens,
}
#: The same reply on a bad line.
EVENTS: dict[str, Callable[[Iterator[Event], Fault], Iterator[Event]]] = {
    "abort": _abort,
    "comments": _comments,
    "errorevent": _error_event,
    "hang": _hang,
    "malformed": _malformed,
    "stall": _stall,
    "wait": _wait,
}
#: `delay` and `drip`: seconds before each token; `retry_after`: the header of a refused request.
OPTIONS = {"delay", "drip", "retry_after"}
NUMERIC = {*EVENTS, *OPTIONS, "tokens"}
NAMES = {*STATUSES, *REPLIES, *EVENTS, *OPTIONS}
