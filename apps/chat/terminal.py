"""A session in a terminal: what `manage.py chat` and `manage.py ask` share."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from accounts.models import User
from accounts.scopes import PERMISSIONS, Scope
from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.http import Http404
from runtime.exceptions import RuntimeRefusal

from apps.chat import agent
from apps.chat.api.feed import Told
from apps.chat.watching import RunWatch

# Turn the reading order round, and show up as nothing.
_TURNING = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--as", dest="person", required=True, help="User name of the person who asks.")
    parser.add_argument("--assistant", help="Its id, or its graph's. The first by name unless it is said.")
    parser.add_argument("--session", type=UUID, help="Id of a thread of theirs to go on with.")


def person_named(name: str) -> User:
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        raise CommandError(f"There is nobody called {name!r}, or their account is switched off.")
    if not user.has_perm(PERMISSIONS[Scope.CHAT]):
        raise CommandError(f"{name} may not chat.")
    return user


@contextmanager
def refusals_told() -> Iterator[None]:
    try:
        yield
    except RuntimeRefusal as refusal:
        raise CommandError(str(refusal)) from refusal
    except Http404 as missing:
        raise CommandError("There is no such thread, or it is somebody else's.") from missing


def begin(user: User, text: str, assistant: str | None, session: UUID | None) -> RunWatch:
    """Says it: the run that answers, watched from before its first event. Raises CommandError."""
    with refusals_told():
        return agent.begin(user, text, assistant, session)


def plain(text: str) -> str:
    """Nothing in it moves the cursor, rings, or turns the reading order round: a model, or a tool, wrote it."""
    return "".join(
        "�" if char in _TURNING or (unicodedata.category(char) == "Cc" and char not in "\n\t") else char
        for char in text
    )


class Screen:
    """Shows a turn: what the assistant says on `out`, all else on `err`."""

    def __init__(self, out: OutputWrapper, err: OutputWrapper) -> None:
        self._out = out
        self._err = err
        self._shown: dict[str, str] = {}
        """Text of each message as far as it is shown."""
        self._last = ""

    def hear(self, run: RunWatch) -> Any:
        """Shows the run to its end: the data of its `end`. KeyboardInterrupt leaves it as it is."""
        end: Any = None
        try:
            for told in agent.heard(run):
                self._show(told)
                end = told.data if told.event == "end" else end
        finally:
            self._finish_line()
        if end is None:
            raise CommandError("You may not follow this session any more.")
        return end

    def _show(self, told: Told) -> None:
        data = told.data
        match told.event:
            case "token":
                self._say(data["message_id"], self._shown.get(data["message_id"], "") + data["text"])
            case "message_started":
                self._say(data["message_id"], data["text"])
            case "message" if data["role"] == "ai":
                self._say(data["message_id"], data["text"])
            case "session":
                for each in data["messages"]:
                    if each["role"] == "ai" and each["run_id"] in {run["run_id"] for run in data["live"]}:
                        self._say(each["message_id"], each["text"])
            case "tool_call":
                self._note(f"{_call(data)} {data['state']}{_outcome(data)}")
            case "approval":
                self._note(f"{_call(data)} waits for a decision")

    def _say(self, message: str, text: str) -> None:
        """The text of the message so far; what is shown already is not shown again."""
        before = self._shown.get(message, "")
        if not text.startswith(before):
            before = ""
            self._finish_line()
        if message != self._last:
            self._finish_line()
        self._shown[message], self._last = text, message
        self._out.write(plain(text[len(before) :]), ending="")
        self._out.flush()

    def _note(self, text: str) -> None:
        self._finish_line()
        self._err.write(plain(f"  [{text}]"))
        self._last = ""

    def _finish_line(self) -> None:
        if self._shown.get(self._last, "\n")[-1:] != "\n":
            self._out.write("")
            self._out.flush()
        self._last = ""


def _call(data: Any) -> str:
    return f"{data['tool']} {json.dumps(data['args'], ensure_ascii=False)}"


def _outcome(data: Any) -> str:
    said = data["error"] or data["result"]
    return f": {said}" if said else ""
