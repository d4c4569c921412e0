"""A streamed answer, from bytes to chunks: splits server-sent events and merges deltas that wait together.

Pure: no LangChain, no waiting. Chunks are those of OpenAI's chat completions, as they were read from JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Chunk: TypeAlias = dict[str, Any]

#: Random text, there against guessing an answer by the size of its packets.
PADDING = "obfuscation"
#: All that an argument fragment may say beside its arguments. One with an id or a name begins a call.
FRAGMENT_KEYS = {"index", "function", "id", "type"}


class EventSplitter:
    """Gives the data of each event once its blank line is there, whatever pieces the bytes come in.

    Lines end in LF, CR or CRLF; comments and events without data are left out
    (html.spec.whatwg.org, "Interpreting an event stream").
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the beginning of a line whose end is still to come
        self._data: list[bytes] = []
        self._ended_in_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in `piece`, oldest first."""
        if self._ended_in_cr and piece[:1] == b"\n":
            piece = piece[1:]  # the other half of a CRLF
        if not piece:
            return []
        self._ended_in_cr = piece.endswith(b"\r")
        lines = piece.splitlines()
        if self._line:
            lines[0] = b"".join([*self._line, lines[0]])
            self._line.clear()
        if not piece.endswith((b"\r", b"\n")):
            self._line.append(lines.pop())
        return [event for event in map(self._read, lines) if event]

    def _read(self, line: bytes) -> bytes | None:
        """The event's data when this line is its end."""
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line and self._data:
            data, self._data = self._data, []
            return b"\n".join(data)
        return None


class Merger:
    """The chunks of one answer that wait to be handed on. Those that differ only in what they add become one."""

    def __init__(self) -> None:
        #: Whether any text or tool call went by: an answer often begins with its role alone.
        self.has_spoken = False
        self._waiting: list[Chunk | Merged] = []

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def add(self, chunk: Chunk) -> None:
        self.has_spoken = self.has_spoken or _speaks(chunk)
        addition = Merged.of(chunk)
        last = self._waiting[-1] if self._waiting else None
        if addition is not None and isinstance(last, Merged) and last.frame == addition.frame:
            last.take_in(addition)
        else:
            self._waiting.append(chunk if addition is None else addition)

    def take(self) -> list[Chunk | Merged]:
        """What waits, oldest first; then nothing does."""
        waiting, self._waiting = self._waiting, []
        return waiting


@dataclass
class Merged:
    """Chunks that add nothing but text and argument fragments; `frame` is what they have in common."""

    frame: tuple[Chunk, Chunk, str | None]
    """The chunk without its choices, the choice without its delta, the role."""
    text: list[str] = field(default_factory=list)
    arguments: dict[int, list[str]] = field(default_factory=dict)
    """By the index of their tool call."""

    @classmethod
    def of(cls, chunk: Chunk) -> Merged | None:
        """None for a chunk that has to stay as it is: it says more, or is not as expected."""
        choice = _only_choice(chunk)
        delta = choice.get("delta") if choice is not None else None
        if choice is None or not isinstance(delta, dict) or not _is_plain(chunk, choice, delta):
            return None
        content, calls = delta.get("content"), delta.get("tool_calls")
        addition = cls((_without(chunk, "choices", PADDING), _without(choice, "delta"), delta.get("role")))
        if content is not None:
            addition.text.append(content)
        if calls:
            addition.arguments[calls[0]["index"]] = [calls[0]["function"]["arguments"]]
        return addition

    def take_in(self, addition: Merged) -> None:
        self.text += addition.text
        for index, fragments in addition.arguments.items():
            self.arguments.setdefault(index, []).extend(fragments)

    def as_chunk(self) -> Chunk:
        chunk, choice, role = self.frame
        delta: Chunk = {"role": role} if role else {}
        if self.text:
            delta["content"] = "".join(self.text)
        if self.arguments:
            delta["tool_calls"] = [
                {"index": index, "function": {"arguments": "".join(fragments)}}
                for index, fragments in self.arguments.items()
            ]
        return {**chunk, "choices": [{**choice, "delta": delta}]}


def _speaks(chunk: Chunk) -> bool:
    delta = (_only_choice(chunk) or {}).get("delta")
    return isinstance(delta, dict) and bool(delta.get("content") or delta.get("tool_calls"))


def _only_choice(chunk: Chunk) -> Chunk | None:
    choices = chunk.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    return choices[0]


def _is_plain(chunk: Chunk, choice: Chunk, delta: Chunk) -> bool:
    """Nothing in it but text or one argument fragment. Usage, a finish reason, logprobs and new keys end a merge."""
    if chunk.get("usage") or choice.get("finish_reason") or choice.get("logprobs"):
        return False
    for key, value in delta.items():
        if key == "content" or key == "role":
            if value is not None and not isinstance(value, str):
                return False
        elif key == "tool_calls":
            if value and not _is_fragment(value):
                return False
        elif value is not None:
            return False
    return True


def _is_fragment(calls: object) -> bool:
    """One fragment that goes on with a call. Two in one chunk are not merged: order would then matter."""
    if not isinstance(calls, list) or len(calls) != 1 or not isinstance(calls[0], dict):
        return False
    call, function = calls[0], calls[0].get("function")
    return (
        type(call.get("index")) is int
        and call.get("id") is None
        and call.keys() <= FRAGMENT_KEYS
        and isinstance(function, dict)
        and isinstance(function.get("arguments"), str)
        and function.get("name") is None
        and function.keys() <= {"arguments", "name"}
    )


def _without(values: Chunk, *keys: str) -> Chunk:
    return {key: value for key, value in values.items() if key not in keys}
