"""The shop's assistant with tools that misbehave, for tests of what a fault leaves behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

from assistants.shop.graph import PROMPT, State
from assistants.shop.models import Order
from assistants.shop.tools import TOOLS
from django.conf import settings
from langchain.agents import create_agent
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph.state import CompiledStateGraph
from runtime.context import current_call
from runtime.llm import chat_model
from runtime.testpoints import testpoint
from runtime.tools import tool

BELL = "bell"  # a file in the data folder: a line for each time a tool had its effect

ASKED = count(1)


def knot() -> list[dict[str, Any]]:
    """What contains itself."""
    knot: dict[str, Any] = {}
    knot["knot"] = knot
    return [knot]


THINGS: dict[str, Callable[[], Any]] = {
    "50 MB": lambda: " " * 50_000_000,
    "an object": object,
    "a broken character": lambda: "\ud800",
    "strange keys": lambda: [{(1, 2): b"\xff"}],
    "a knot": knot,
}


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


@tool(sensitive=False, effect="once")
async def ring_unheard(key: str) -> str:
    """Rings, and loses its answer on the way back."""
    strike(key)
    raise ConnectionResetError("The answer was lost.")


@tool(sensitive=False, effect="idempotent")
def refund_unheard(order_number: int, lost: int) -> str:
    """Refunds under the call's key; the first `lost` answers get lost on the way back."""
    key, asked = str(current_call.get().pk), next(ASKED)
    strike(f"{key}:{asked}")
    Order.objects.get(number=order_number).refund(Decimal(1), reason="", key=key)
    if asked <= lost:
        raise ConnectionResetError("The answer was lost.")
    return "Refunded."


@tool(sensitive=False, effect="once")
async def ring_half(key: str, size: int = 0) -> str:
    """Rings, and fails with an error of that many characters."""
    strike(key)
    raise RuntimeError(f"The second bell is broken. {' ' * size}")


@tool(sensitive=False, effect="once")
async def bring(key: str, what: str) -> Any:
    """Rings, and brings something that is hard to keep."""
    strike(key)
    return THINGS[what]()


class DoomedSaver:
    """Test points around what LangGraph writes: each task's writes as it ends, then the step's checkpoint."""

    put, put_writes = AsyncPostgresSaver.aput, AsyncPostgresSaver.aput_writes

    @classmethod
    def install(cls) -> None:
        async def aput(saver: AsyncPostgresSaver, *args: Any, **kwargs: Any) -> Any:
            testpoint("before_put")
            config = await cls.put(saver, *args, **kwargs)
            testpoint("after_put")
            return config

        async def aput_writes(saver: AsyncPostgresSaver, *args: Any, **kwargs: Any) -> None:
            await asyncio.sleep(float(os.environ.get("LAB_SLOW_WRITES", "0")))
            testpoint("before_put_writes")
            await cls.put_writes(saver, *args, **kwargs)
            testpoint("after_put_writes")

        AsyncPostgresSaver.aput = aput  # type: ignore[method-assign]
        AsyncPostgresSaver.aput_writes = aput_writes  # type: ignore[method-assign]


MISBEHAVING = [ring, wait, crash, ring_unheard, refund_unheard, ring_half, bring]


def build() -> CompiledStateGraph[Any, Any, Any, Any]:
    if os.environ.get("COUNTERSIGN_TESTPOINT"):
        DoomedSaver.install()
    agent: CompiledStateGraph[Any, Any, Any, Any] = create_agent(
        chat_model(), [*TOOLS, *MISBEHAVING], system_prompt=PROMPT, state_schema=State
    )
    return agent
