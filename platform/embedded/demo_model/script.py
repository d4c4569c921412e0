"""Decides what to say next, from nothing but the messages and the tools offered."""

from __future__ import annotations

from embedded.demo_model import essays, extracts, phrases, reading
from embedded.demo_model.intents import Step
from embedded.demo_model.phrases import Phrases
from embedded.demo_model.reply import Call, Reply
from embedded.demo_model.schemas import JSONObject
from embedded.demo_model.turn import Turn

MAX_ROUNDS = 24  # a platform that changes a call's tool could otherwise make it ask for ever


def decide(turn: Turn, *, parallel: bool = True) -> Reply:
    """The next assistant message of the turn. `parallel=False` keeps it to one tool call a message."""
    say = phrases.for_text(turn.text)
    if turn.forced and (arguments := _forced(turn)) is not None:
        return Reply("", (Call.of(turn.forced, **arguments),))
    if (section := essays.section(turn.text)) is not None:
        return Reply(section)
    if turn.rounds >= MAX_ROUNDS:
        return _answer([Step(say.too_many_rounds)], say)
    steps = [_offered(intent.next_step(turn, say), turn, say) for intent in reading.read(turn.text)]
    asking = [step for step in steps if step.call is not None]
    if not asking:
        return _answer(steps, say)
    return _ask(asking if parallel else asking[:1])


def _forced(turn: Turn) -> JSONObject | None:
    """What the tool that has to be called is called with; None for one that the script knows nothing of."""
    if turn.forced in extracts.TOOLS:
        return extracts.TOOLS[turn.forced](turn.text)
    return essays.outline(turn.text) if turn.forced == essays.OUTLINE else None


def _offered(step: Step, turn: Turn, say: Phrases) -> Step:
    if step.call is None or step.call.tool in turn.offered:
        return step
    return Step(say.not_offered.format(tool=step.call.tool))


def _ask(steps: list[Step]) -> Reply:
    calls = tuple(step.call for step in steps if step.call is not None)
    return Reply(_joined(steps), calls, "tool_calls")


def _answer(steps: list[Step], say: Phrases) -> Reply:
    return Reply(f"{_joined(steps)}\n\n{say.signature}")


def _joined(steps: list[Step]) -> str:
    return "\n\n".join(step.text for step in steps if step.text)
