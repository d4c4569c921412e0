"""What the demo model has decided to say, before it is cut into chunks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from embedded.demo_model.schemas import FinishReason


@dataclass(frozen=True)
class Call:
    """A tool call. `arguments` is JSON text: faults cut it off."""

    tool: str
    arguments: str

    @classmethod
    def of(cls, tool: str, /, **arguments: Any) -> Call:
        return cls(tool, json.dumps(arguments, ensure_ascii=False))


@dataclass(frozen=True)
class Reply:
    """One assistant message."""

    text: str
    calls: tuple[Call, ...] = ()
    #: None: it breaks off without saying that it is finished.
    finish_reason: FinishReason | None = "stop"
