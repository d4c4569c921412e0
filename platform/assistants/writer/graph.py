"""The writer: an outline, which the person confirms or changes, then all sections at once, then the whole text.

In the mode "auto" nobody is asked. How many sections are done is told while they are being written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict
from uuid import uuid4

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import EphemeralValue
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy, Send, interrupt
from pydantic import ValidationError
from runtime import progress
from runtime.exceptions import CallRefused

from assistants import asking
from assistants.words import cut, language_of
from assistants.writer.shapes import Order, Outline, answer_schema, confirmed

PLAN_PROMPT = """You plan texts. Make an outline by calling `Outline`, in the language of the topic. Every section has \
a title of its own that says what is in it."""
SECTION_PROMPT = """You write one section of a longer text; others write the rest at the same time. Keep to your \
section, in the language of the topic. Write only its text, in paragraphs, without its title and without headings."""
AGAIN = RetryPolicy(initial_interval=0.5, max_attempts=3, retry_on=asking.is_passing)  # with jitter


def gathered(known: dict[str, str] | None, news: dict[str, str]) -> dict[str, str]:
    """Sections come side by side; none at all begins a new text."""
    return {**(known or {}), **news} if news else {}


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]
    order: dict[str, Any]
    outline: dict[str, Any]
    sections: Annotated[dict[str, str], gathered]
    """{position: text}."""
    spent: Annotated[list[AIMessage], EphemeralValue(list, guard=False)]


class Piece(TypedDict):
    """What the node that writes one section gets."""

    position: int
    order: dict[str, Any]
    outline: dict[str, Any]


async def take_order(state: State, config: RunnableConfig) -> dict[str, Any]:
    """From the program's configuration; else the person's message is the topic. Raises CallRefused."""
    said = [message for message in state["messages"] if isinstance(message, HumanMessage)]
    given = {
        name: value for name, value in config.get("configurable", {}).items() if name in Order.model_fields
    }
    wanted = {name: value for name, value in given.items() if value not in (None, "")}
    try:
        order = Order.model_validate({"topic": str(said[-1].text)[:2000] if said else "", **wanted})
    except ValidationError as error:
        flaws = "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
        raise CallRefused(
            _("The text can't be written as it was ordered. %(flaws)s") % {"flaws": flaws}
        ) from error
    return {"order": order.model_dump(), "outline": {}, "sections": {}}


async def plan(state: State) -> dict[str, Any]:
    order = Order.model_validate(state["order"])
    wanted = [SystemMessage(PLAN_PROMPT), HumanMessage(f"{_brief(order)}\nMake {order.sections} sections.")]
    found, spent = await asking.ask_for(Outline, wanted)
    return {"outline": (found or _plain_outline(order)).model_dump(), "spent": spent}


def _brief(order: Order) -> str:
    lines = [f"Write about: {order.topic}"]
    if order.target_audience:
        lines.append(f"For: {order.target_audience}")
    if order.depth_level:
        lines.append(f"Depth: {order.depth_level}")
    return "\n".join([*lines, f"In all about {order.target_length} words."])


def _plain_outline(order: Order) -> Outline:
    """Where the model wrote something else: there is at least something to change."""
    with translation.override(language_of(order.topic)):
        sections = [_("Beginning"), _("Middle"), _("End")]
        return Outline(title=" ".join(order.topic.split())[:300], sections=sections[: max(2, order.sections)])


async def confirm(state: State) -> dict[str, Any]:
    """Asks for the outline; an empty one says that the text is not wanted."""
    order, outline = Order.model_validate(state["order"]), Outline.model_validate(state["outline"])
    if order.mode == "auto":
        return {}
    with translation.override(language_of(order.topic)):
        question = {"question": _("Shall I write it like this?"), **outline.model_dump()}
        labels = {
            "form": _("Your answer to the outline"),
            "go_on": _("Write it"),
            "go_on_help": _("false: nothing is written."),
            "title": _("Another title"),
            "sections": _("Other sections, one a line"),
            "as_proposed": _("Left empty: as proposed."),
        }
    kept = confirmed(outline, interrupt(question, response_schema=answer_schema(labels)))
    return {"outline": kept.model_dump() if kept else {}}


async def begin(state: State) -> dict[str, Any]:
    if state["outline"]:
        await progress.begin(len(state["outline"]["sections"]))
    return {}


def _pieces(state: State) -> Sequence[Send] | str:
    if not state["outline"]:
        return "join"
    both = {"order": state["order"], "outline": state["outline"]}
    count = len(state["outline"]["sections"])
    return [Send("write", {"position": position, **both}) for position in range(count)]


async def write(piece: Piece) -> dict[str, Any]:
    order, outline = Order.model_validate(piece["order"]), Outline.model_validate(piece["outline"])
    position, total = piece["position"], len(outline.sections)
    words = order.target_length // total
    title, topic = (
        text.replace('"', "'") for text in (outline.sections[position], " ".join(order.topic.split()))
    )
    wanted = f'Write the section "{title}" of "{topic}" in about {words} words.\n\n{_brief(order)}\nAll sections:\n'
    listed = "\n".join(f"{at}. {each}" for at, each in enumerate(outline.sections, 1))
    text, spent = await asking.ask([SystemMessage(SECTION_PROMPT), HumanMessage(wanted + listed)])
    await progress.count(f"{position}", total)
    return {"sections": {f"{position}": cut(text, words)}, "spent": spent}


async def join(state: State) -> dict[str, Any]:
    outline = state["outline"]
    if not outline:
        with translation.override(language_of(state["order"]["topic"])):
            return {"messages": [_said(_("Nothing was written."))]}
    written = [
        f"## {title}\n\n{state['sections'][f'{position}']}"
        for position, title in enumerate(outline["sections"])
    ]
    return {"messages": [_said("\n\n".join([f"# {outline['title']}", *written]))]}


def _said(text: str) -> AIMessage:
    return AIMessage(text, id=str(uuid4()))


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    graph = StateGraph(State)
    limit = settings.MODEL_TIME_LIMIT
    section: Any = write  # its input is not the graph's, which the types don't foresee
    graph.add_node("take_order", take_order)
    graph.add_node("plan", plan, timeout=limit, retry_policy=AGAIN)
    graph.add_node("confirm", confirm)
    graph.add_node("begin", begin)
    graph.add_node("write", section, timeout=limit, retry_policy=AGAIN, input_schema=Piece)
    graph.add_node("join", join, defer=True)
    graph.add_edge(START, "take_order")
    graph.add_edge("take_order", "plan")
    graph.add_edge("plan", "confirm")
    graph.add_edge("confirm", "begin")
    graph.add_conditional_edges("begin", _pieces, ["write", "join"])
    graph.add_edge("write", "join")
    graph.add_edge("join", END)
    return graph.compile()
