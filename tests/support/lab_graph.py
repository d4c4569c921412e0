"""The shop's assistant with tools that misbehave, for tests of what a fault leaves behind."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from assistants.shop.graph import PROMPT, State
from assistants.shop.tools import TOOLS
from django.conf import settings
from langchain.agents import create_agent
from langgraph.graph.state import CompiledStateGraph
from runtime.llm import chat_model
from runtime.tools import tool

BELL = "bell"  # a file in the data folder: a line for each time a tool had its effect


def strike(key: str) -> None:
    """One line, whole, whatever becomes of this process next."""
    bell = os.open(settings.HOME / BELL, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(bell, f"{key}\n".encode())
    os.close(bell)


@tool(sensitive=False, effect="once")
async def ring(key: str, before: float = 0.0, after: float = 0.0) -> str:
    """Rings after `before` seconds, and takes `after` more."""
    await asyncio.sleep(before)
    strike(key)
    await asyncio.sleep(after)
    return "Rung."


@tool(sensitive=False, effect="none")
async def wait(seconds: float) -> str:
    """Only takes its time."""
    await asyncio.sleep(seconds)
    return "Waited."


@tool(sensitive=False, effect="none")
async def crash() -> str:
    """Takes the worker with it."""
    os._exit(9)


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    agent: CompiledStateGraph[Any, Any, Any, Any] = create_agent(
        chat_model(), [*TOOLS, ring, wait, crash], system_prompt=PROMPT, state_schema=State
    )
    return agent
