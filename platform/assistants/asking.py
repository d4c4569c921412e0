"""Questions to the model whose answers are material for a graph, and not told to anybody as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from uuid import uuid4

import openai
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from pydantic import BaseModel
from runtime.exceptions import ModelAnswerIncomplete
from runtime.llm import chat_model

Shape = TypeVar("Shape", bound=BaseModel)
Spent = list[AIMessage]
"""What a run is charged with. The runner counts the tokens of every message that a node brings, in any channel."""

# Several that stream at once would be as many broken messages on the page.
UNTOLD: RunnableConfig = {"tags": [TAG_NOSTREAM]}


async def ask(messages: Sequence[BaseMessage]) -> tuple[str, Spent]:
    answer = await chat_model().ainvoke(list(messages), UNTOLD)
    return str(answer.text), _spent(answer)


async def ask_for(shape: type[Shape], messages: Sequence[BaseMessage]) -> tuple[Shape | None, Spent]:
    """An answer in that shape; None where the model wrote something else.

    By a tool call: every endpoint has them, and the client sees to it that none is cut off.
    """
    model = chat_model().bind_tools([shape], tool_choice=shape.__name__, parallel_tool_calls=False)
    answer = await model.ainvoke(list(messages), UNTOLD)
    calls = [call["args"] for call in answer.tool_calls if call["name"] == shape.__name__]
    try:
        return (shape.model_validate(calls[0]) if calls else None), _spent(answer)
    except ValueError:
        return None, _spent(answer)


def is_passing(error: Exception) -> bool:
    """Worth a second try. The client itself has tried what could not be reached or was over its limit."""
    return isinstance(error, ModelAnswerIncomplete | openai.APIConnectionError | openai.InternalServerError)


def _spent(answer: AIMessage) -> Spent:
    return [AIMessage("", id=answer.id or str(uuid4()), usage_metadata=answer.usage_metadata)]
