"""What a tool says it would do, asked before anybody judges the call: read-only, bounded, and never in the way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from langchain_core.tools import BaseTool, StructuredTool

from runtime.database import in_tool_thread
from runtime.ledger import Preview

logger = logging.getLogger(__name__)

PREVIEW_TIME = 3.0  # seconds

PreviewFunction = Callable[..., Any]
"""Takes what the tool takes, returns the text, changes nothing."""


def preview_tool(tool: BaseTool, function: PreviewFunction) -> StructuredTool:
    """The function, called with arguments that are read as the tool reads its own."""
    is_async = asyncio.iscoroutinefunction(function)
    return StructuredTool.from_function(
        func=None if is_async else function,
        coroutine=function if is_async else None,
        name=tool.name,
        description=f"Preview of {tool.name}",
        args_schema=tool.tool_call_schema,
    )


async def ask(preview: StructuredTool, args: dict[str, Any]) -> Preview:
    """What it says of these arguments; an error or a silence is said too, and is no reason to stop."""
    try:
        async with asyncio.timeout(PREVIEW_TIME):
            said = await _said(preview, args)
    except TimeoutError:
        return Preview(error=f"No answer within {PREVIEW_TIME:g} s.")
    except Exception as error:
        logger.info("preview failed", exc_info=True, extra={"action": "preview_failed", "tool": preview.name})
        return Preview(error=f"{type(error).__name__}: {error}")
    return Preview(text=said if isinstance(said, str) else json.dumps(said, default=str))


async def _said(preview: StructuredTool, args: dict[str, Any]) -> Any:
    if preview.coroutine is not None:
        return await preview.ainvoke(args)
    return await in_tool_thread(_read_only, preview, args)


@transaction.atomic
def _read_only(preview: StructuredTool, args: dict[str, Any]) -> Any:
    """PostgreSQL refuses what would write, and ends what outlasts the wait: nothing stops a thread from outside."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{PREVIEW_TIME * 1000:.0f}"])
    return preview.invoke(args)
