"""An assistant whose tools take secrets, give some away, and fail with others in their mouth."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langgraph.graph.state import CompiledStateGraph
from runtime.llm import chat_model
from runtime.tools import tool

seen: list[tuple[str, str]] = []


@tool(sensitive=True, effect="once", secret=["password"])
def open_vault(password: str, note: str = "") -> str:
    """Open the vault."""
    seen.append((password, note))
    return f"Open. Its key is {NEW_KEY}."


@tool(sensitive=False, effect="none")
def fail(what: str) -> str:
    """Fail."""
    raise RuntimeError(f"{what}: {NEW_KEY}")


NEW_KEY = "sk-CANARYofTheVault0123456789"


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    agent: CompiledStateGraph[Any, Any, Any, Any] = create_agent(chat_model(), [open_vault, fail])
    return agent
