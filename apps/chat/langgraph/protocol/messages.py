"""A model's chunks, as a run streams them, as the protocol's content blocks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

ROLES = {"human": "human", "system": "system", "ai": "ai", "AIMessageChunk": "ai"}


@dataclass
class _Block:
    kind: str
    """text, reasoning or tool_call_chunk."""
    text: str = ""
    id: str | None = None
    name: str | None = None

    def started(self) -> Json:
        if self.kind == "tool_call_chunk":
            return {"type": self.kind, "id": self.id, "name": self.name, "args": ""}
        return {"type": self.kind, self.kind: ""}

    def grown(self, fresh: str) -> Json:
        if self.kind == "tool_call_chunk":
            # All of it so far: not every client knows a delta of arguments alone.
            fields = {"type": self.kind, "id": self.id, "name": self.name, "args": self.text}
            return {"type": "block-delta", "fields": fields}
        return {"type": f"{self.kind}-delta", self.kind: fresh}

    def finished(self) -> Json:
        if self.kind != "tool_call_chunk":
            return {"type": self.kind, self.kind: self.text}
        try:
            args = json.loads(self.text or "{}")
        except ValueError:
            args = None
        if not isinstance(args, dict):
            why = "The arguments are no JSON object."
            return {
                "type": "invalid_tool_call", "id": self.id, "name": self.name, "args": self.text, "error": why
            }  # fmt: skip
        return {"type": "tool_call", "id": self.id, "name": self.name or "", "args": args}


@dataclass
class Assembly:
    """One message, from its first chunk to its last."""

    id: str
    usage: Json | None = None
    blocks: list[_Block] = field(default_factory=list)
    _places: dict[tuple[str, Any], int] = field(default_factory=dict)

    def begin(self, role: str, metadata: Json) -> Json:
        said: Json = {"event": "message-start", "role": role, "id": self.id, "message_id": self.id}
        node = metadata.get("langgraph_node")
        return {**said, "metadata": {"langgraph_node": node}} if isinstance(node, str) else said

    def add(self, chunk: Json) -> list[Json]:
        """What the chunk adds."""
        self._count(chunk.get("usage_metadata"))
        told: list[Json] = []
        for key, text, id, name in _pieces(chunk):
            told += self._grow(key, text, id, name)
        return told

    def end(self) -> list[Json]:
        told: list[Json] = [
            self._said("content-block-finish", index=index, content=block.finished())
            for index, block in enumerate(self.blocks)
        ]
        return [*told, self._said("message-finish", **({"usage": self.usage} if self.usage else {}))]

    def fail(self, why: str) -> list[Json]:
        return [self._said("error", message=why)]

    def _grow(self, key: tuple[str, Any], text: str, id: str | None, name: str | None) -> list[Json]:
        told = []
        if key not in self._places:
            self._places[key] = len(self.blocks)
            self.blocks.append(block := _Block(key[0], id=id, name=name))
            told.append(self._said("content-block-start", index=self._places[key], content=block.started()))
        index = self._places[key]
        block = self.blocks[index]
        block.id, block.name = block.id or id, block.name or name
        if text:
            block.text += text
            told.append(self._said("content-block-delta", index=index, delta=block.grown(text)))
        return told

    def _count(self, usage: Any) -> None:
        """Providers tell usage with the last chunk, or a part of it with each."""
        if not isinstance(usage, dict):
            return
        names = ("input_tokens", "output_tokens", "total_tokens")
        before = self.usage or {}
        self.usage = {name: before.get(name, 0) + (usage.get(name) or 0) for name in names}

    def _said(self, event: str, **fields: Any) -> Json:
        # The id is no part of the protocol's deltas: clients that know it keep messages apart that stream at once.
        return {"event": event, "message_id": self.id, **fields}


def _pieces(chunk: Json) -> list[tuple[tuple[str, Any], str, str | None, str | None]]:
    """(block, text, id, name) of all that the chunk, or a whole message, has."""
    content = chunk.get("content")
    parts = content if isinstance(content, list) else [content]
    found: list[tuple[tuple[str, Any], str, str | None, str | None]] = []
    for part in parts:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        thought = part.get("reasoning") if isinstance(part, dict) else None
        if isinstance(text, str) and text:
            found.append((("text", 0), text, None, None))
        if isinstance(thought, str) and thought:
            found.append((("reasoning", 0), thought, None, None))
    fragments = chunk.get("tool_call_chunks")
    for at, call in enumerate(fragments or []):
        key = ("tool_call_chunk", call.get("index") if call.get("index") is not None else at)
        found.append((key, call.get("args") or "", call.get("id"), call.get("name")))
    if fragments is None:
        for at, call in enumerate(chunk.get("tool_calls") or []):
            key = ("tool_call_chunk", at)
            found.append((key, json.dumps(call.get("args") or {}), call.get("id"), call.get("name")))
    return found
