"""`manage.py chat --as USER`: a conversation in the terminal."""

from __future__ import annotations

import sys
import time
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from runtime import decisions, runs
from runtime.models import CallKind, ToolCall
from runtime.schemas import Decision

from apps.chat import agent, terminal, watching
from apps.chat.api import shapes
from apps.chat.terminal import Screen
from apps.chat.watching import RunWatch

LOOK = 0.5  # seconds between two looks at whether others have decided


class Command(BaseCommand):
    help = (
        "Chat with an assistant. Enter sends; Ctrl-C stops the answer, Ctrl-D leaves. What a rule lets you confirm "
        "yourself is asked here; what others decide is waited for, and goes on without you when you leave."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        terminal.add_arguments(parser)

    def handle(self, *, person: str, assistant: str | None, session: UUID | None, **_: Any) -> None:
        self._user = terminal.person_named(person)
        self._screen = Screen(self.stdout, self.stderr)
        while (text := self._line("> ")) is not None:
            if not text.strip():
                continue
            try:
                run = terminal.begin(self._user, text, assistant, session)
            except CommandError as refused:  # one message is refused, not the conversation
                self.stderr.write(str(refused))
                continue
            session = run.thread_id
            self._take(run)
        if session is not None:
            self.stderr.write(f"Go on with: manage.py chat --as {person} --session {session}")

    def _take(self, run: RunWatch | None) -> None:
        """The turn, with all the runs that decisions make of it."""
        while run is not None:
            try:
                end = self._screen.hear(run)
                if end["error"]:
                    self.stderr.write(terminal.plain(end["error"]["message"]))
                run = self._after(run) if end["status"] == shapes.INTERRUPTED else None
            except KeyboardInterrupt:
                stopped = run is not None and runs.cancel_run(run.run)
                self.stderr.write("Stopped." if stopped else "It goes on when they have decided.")
                return

    def _after(self, run: RunWatch) -> RunWatch | None:
        """The run that goes on with it, once what waits is decided; None when nobody here wants to wait."""
        cursor = watching.cursor_of(run.thread_id)
        for call in ToolCall.objects.filter(
            pk__in=[each.tool_call_id for each in shapes.approvals(run.thread_id)]
        ):
            if not self._decide(call):
                self._tell_who(call)
        while (last := shapes.chain(run.run)[-1]).pk == run.run.pk:
            time.sleep(LOOK)
        return agent.watch(self._user, last, cursor)

    def _decide(self, call: ToolCall) -> bool:
        """Asks the person, where it is theirs to say. False where others decide."""
        kinds = decisions.may_answer(self._user, call)
        if not kinds:
            return False
        decision = self._answer(call) if call.kind == CallKind.QUESTION else self._confirm(call)
        with terminal.refusals_told():
            decisions.decide(self._user, call.pk, {**decision, "digest": call.args_digest})
        return True

    def _answer(self, call: ToolCall) -> Decision:
        return {"type": "respond", "message": self._line(f"{call.why or 'Your answer'}: ") or ""}

    def _confirm(self, call: ToolCall) -> Decision:
        said = ""
        while said not in ("y", "n"):
            said = (self._line(f"Run {call.tool}? [y/n] ") or "n").strip().lower()[:1]
        if said == "y":
            return {"type": "approve"}
        return {"type": "reject", "message": self._line("Why not? ") or "The requester said no."}

    def _tell_who(self, call: ToolCall) -> None:
        asked = decisions.asked(call)
        whom = f"members of {asked.group}" if asked and asked.group else "somebody else"
        self.stderr.write(f"Waiting for {whom} to decide on {call.tool}. Ctrl-C: do not wait.")

    def _line(self, prompt: str) -> str | None:
        """What was typed; None at the end of input, or for Ctrl-C at an empty prompt."""
        self.stdout.write(terminal.plain(prompt), ending="")
        self.stdout.flush()
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            line = ""
        if not line:
            self.stdout.write("")
            return None
        return line.rstrip("\n")
