"""The graph that all designs run in a comparison: one model node, no tools."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

ID = "bench"
REGISTERED = f"{ID}=benchmarks.graph:on_the_platform"  # for COUNTERSIGN_GRAPHS
PROMPT = "You answer at a steady pace."

# The shop's assistant with LangGraph's own messages channel, to compare its DeltaChannel with.
PLAIN_SHOP_ID = "plain-shop"
REGISTERED_PLAIN_SHOP = f"{PLAIN_SHOP_ID}=benchmarks.graph:plain_shop"

Graph = CompiledStateGraph[Any, Any, Any, Any]


def chat(model: BaseChatModel, checkpointer: BaseCheckpointSaver[Any] | None = None) -> Graph:
    graph: Graph = create_agent(model, [], system_prompt=PROMPT, checkpointer=checkpointer)
    return graph


def plain_shop() -> Graph:
    from assistants.shop.graph import PROMPT as SHOP_PROMPT
    from assistants.shop.tools import TOOLS
    from runtime.llm import chat_model

    graph: Graph = create_agent(chat_model(), TOOLS, system_prompt=SHOP_PROMPT)
    return graph


def on_the_platform() -> Graph:
    from runtime.llm import chat_model

    return chat(chat_model())
