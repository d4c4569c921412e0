"""The last turn of a thread: what the person asked, and what the tools have answered since."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from embedded.demo_model.exceptions import ApiError
from embedded.demo_model.schemas import JSONObject, Message, ToolCall

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})

_REJECTED = re.compile(r"Rejected by ([^:]+):\s*(.*)", re.DOTALL)
_NOT_RUN = re.compile(r"(Error|Rejected|Denied|Expired|Cancelled|Superseded|Refused)\b")


@dataclass(frozen=True)
class Result:
    """A tool message, with the name of the tool whose call it answers."""

    tool: str
    text: str

    @property
    def rejection(self) -> tuple[str, str] | None:
        """Who rejected the call, and why; None when nobody did."""
        match = _REJECTED.match(self.text)
        return (match[1].strip(), match[2].strip()) if match else None

    @property
    def is_refusal(self) -> bool:
        """The tool did not run, or failed: the text says so in its first word."""
        return _NOT_RUN.match(self.text) is not None

    @property
    def fields(self) -> JSONObject | None:
        """The JSON object that the tool returned; None for any other text, such as a person's answer."""
        try:
            value = json.loads(self.text)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


@dataclass
class Turn:
    """Filled by `read_turn`; `take` uses the results up."""

    text: str = ""
    #: In the order of the calls, whatever the order of the tool messages.
    results: list[Result] = field(default_factory=list)
    #: Assistant messages with tool calls since the human message.
    rounds: int = 0
    offered: frozenset[str] = frozenset()
    #: The tool that has to be called.
    forced: str = ""

    def take(self, tool: str) -> Result | None:
        """The first result of `tool` that was not taken yet."""
        # By position, not by arguments: an approver may have edited those.
        for result in self.results:
            if result.tool == tool:
                self.results.remove(result)
                return result
        return None


def read_turn(messages: Iterable[Message], offered: frozenset[str] = frozenset(), forced: str = "") -> Turn:
    """The last turn of `messages`.

    ApiError 400 where OpenAI refuses: unknown role, tool call without an answer, tool message without a call.
    """
    turn = Turn(offered=offered, forced=forced)
    waiting: dict[str, str] = {}  # tool call id -> tool
    answers: dict[str, str] = {}
    for message in messages:
        _check_role(message)
        if message["role"] == "tool":
            _take_answer(message, waiting, answers)
            continue
        _close_round(turn, waiting, answers)
        if message["role"] == "user":
            turn = Turn(text=text_of(message), offered=offered, forced=forced)
        waiting, answers = _open_calls(message), {}
    _close_round(turn, waiting, answers)
    return turn


def text_of(message: Message) -> str:
    """The message's text; parts are joined, images and the like left out."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if part.get("type") == "text")


def _check_role(message: Message) -> None:
    role = message.get("role")
    if role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise ApiError(400, f"Invalid value {role!r} for a message's role. Use one of: {known}.")


def _open_calls(message: Message) -> dict[str, str]:
    calls: list[ToolCall] = message.get("tool_calls") or []
    try:
        return {call["id"]: call["function"]["name"] for call in calls}
    except (KeyError, TypeError) as error:
        raise ApiError(400, "Each of tool_calls needs an id and a function with a name.") from error


def _take_answer(message: Message, waiting: dict[str, str], answers: dict[str, str]) -> None:
    call_id = message.get("tool_call_id", "")
    if call_id not in waiting:
        raise ApiError(400, "Messages with role 'tool' must answer a preceding message with 'tool_calls'.")
    answers[call_id] = text_of(message)


def _close_round(turn: Turn, waiting: dict[str, str], answers: dict[str, str]) -> None:
    missing = ", ".join(call_id for call_id in waiting if call_id not in answers)
    if missing:
        raise ApiError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages answering each "
            f"'tool_call_id'. These were not answered: {missing}",
        )
    turn.rounds += bool(waiting)
    turn.results += [Result(tool, answers[call_id]) for call_id, tool in waiting.items()]
