"""The gateway every tool call passes: ledger, policy, approval, execution from the reviewed record.

It sits inside the tool, so it holds in any graph: `create_agent`, a ToolNode, a node that calls the tool by hand.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import httpx
from asgiref.sync import async_to_sync
from django.conf import settings
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.types import interrupt
from pydantic import BaseModel

from runtime import ledger, masking, previews
from runtime.context import current_call, current_run
from runtime.database import AWAY, in_database, in_tool_thread
from runtime.models import CallKind, Effect, Run, ToolCall, ToolState
from runtime.previews import PreviewFunction
from runtime.testpoints import testpoint

logger = logging.getLogger(__name__)

# After these nobody knows whether the tool's request arrived.
UNCERTAIN = (ConnectionError, TimeoutError, httpx.TransportError, *AWAY)
AGAIN_AFTER = (0.2, 2.0)  # seconds
STOP_GRACE = 0.5  # seconds a stopped run waits for a tool that is just about to end


class GatedTool(BaseTool):
    """A tool behind the gateway. Made by `tool` or `gate`, never by hand."""

    inner: BaseTool
    model: type[BaseModel] | None
    """Of the arguments the model writes."""
    sensitive: bool
    effect: str
    preview: StructuredTool | None = None

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("A gated tool is called with a tool call: use invoke or ainvoke.")

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return async_to_sync(self.ainvoke)(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if not isinstance(input, dict) or input.get("type") != "tool_call" or not input.get("id"):
            raise TypeError(
                f"{self.name} runs only for a model's tool call, with its id, so that it can be recorded."
            )
        context = current_run.get()  # LookupError outside a run
        context.count_call()
        run, proposal = context.run, self._proposal(input)
        # A message can hold the same call twice, and a node runs its calls at once: the second finds the result.
        if masking.marks_in({name: proposal.args.get(name) for name in proposal.secret_names}):
            proposal = await in_database(ledger.with_secrets_of_thread, run, proposal)
        async with context.lock_of(proposal):
            proposal = await self._previewed(run, proposal)
            testpoint("before_permit")
            tool_call, is_begun = await in_database(ledger.enter, run, proposal)
            if is_begun:
                await _execute(self, tool_call)
            return await _carry_out(self, tool_call, input["id"])

    def _proposal(self, call: dict[str, Any]) -> ledger.Proposal:
        return ledger.Proposal(
            task_id=get_config()["configurable"]["checkpoint_ns"],
            call_id=call["id"],
            tool=self.name,
            args=self._checked(call["args"]),
            args_schema=cast(dict[str, Any], self.args_schema),
            sensitive=self.sensitive,
            effect=self.effect,
            why=current_run.get().why,
        )

    async def _previewed(self, run: Run, proposal: ledger.Proposal) -> ledger.Proposal:
        """With what the tool says it would do: asked once, before the call has a row and anybody judges it."""
        if self.preview is None or await in_database(ledger.is_known, run, proposal):
            return proposal
        return replace(proposal, preview=await previews.ask(self.preview, proposal.true_args))

    def _checked(self, args: dict[str, Any]) -> dict[str, Any]:
        """What the model wrote, checked and JSON-like. Raises pydantic's ValidationError.

        A tool node adds state and runtime to the arguments of tools that ask for them: those are left out. A tool
        that brings a bare JSON schema checks its arguments itself.
        """
        known = cast(dict[str, Any], self.args_schema).get("properties", {})
        written = {name: value for name, value in args.items() if name in known}
        if self.model is None:
            return written
        checked = self.model.model_validate(written).model_dump(mode="json")
        # pydantic tells nobody what its SecretStr holds.
        hidden = masking.secret_names(cast(dict[str, Any], self.args_schema))
        return checked | {name: value for name, value in written.items() if name in hidden}


def tool(
    *,
    sensitive: bool,
    effect: str,
    preview: PreviewFunction | None = None,
    secret: Collection[str] = (),
) -> Callable[[Callable[..., Any]], GatedTool]:
    """Makes a function a tool: its name, docstring and hints are what the model sees.

    `sensitive`: without a policy rule that allows it, it does not run. `effect`: what a second execution would
    do (none, idempotent, reconcile, once); "once" is never repeated without a person's word.
    `preview`: takes the same arguments and tells in words what the call would do, for whoever decides on it; it
    may read and must not change anything. A plain function runs in a thread, a coroutine on the worker's loop.
    `secret`: arguments that nobody is shown and no row holds in the clear. Of type SecretStr they are without this.
    """

    def decorate(function: Callable[..., Any]) -> GatedTool:
        is_async = asyncio.iscoroutinefunction(function)
        made = StructuredTool.from_function(
            func=None if is_async else function, coroutine=function if is_async else None
        )
        return gate(made, sensitive=sensitive, effect=effect, preview=preview, secret=secret)

    return decorate


def gate(
    inner: BaseTool,
    *,
    sensitive: bool,
    effect: str,
    preview: PreviewFunction | None = None,
    secret: Collection[str] = (),
) -> GatedTool:
    """Puts any LangChain tool behind the gateway."""
    if effect not in Effect.values:
        raise ValueError(f"effect={effect!r} of {inner.name} is none of {', '.join(Effect.values)}")
    # As plain JSON schema: what the model is told is what the queue shows, and edits are held against.
    schema = inner.tool_call_schema
    model = None if isinstance(schema, dict) else cast(type[BaseModel], schema)
    told = cast(dict[str, Any], schema) if model is None else model.model_json_schema()
    return GatedTool(
        name=inner.name,
        description=inner.description,
        args_schema=_with_secrets(inner.name, told, secret),
        inner=inner,
        model=model,
        sensitive=sensitive,
        effect=effect,
        preview=previews.preview_tool(inner, preview) if preview else None,
    )


def _with_secrets(tool: str, schema: dict[str, Any], secret: Collection[str]) -> dict[str, Any]:
    """The schema, which says of these arguments that they are only ever written. ValueError for one it has not."""
    properties = schema.get("properties", {})
    if unknown := set(secret) - set(properties):
        raise ValueError(f"{tool} has no argument {', '.join(sorted(unknown))} that could be secret.")
    told = {name: {**properties[name], "writeOnly": True} for name in secret}
    return {**schema, "properties": {**properties, **told}} if told else schema


async def _carry_out(tool: GatedTool, tool_call: ToolCall, call_id: str) -> ToolMessage:
    """Goes with the row from whatever state it is found in to its message for the model."""
    run = current_run.get().run
    while True:
        match tool_call.state:
            case ToolState.WAITING | ToolState.UNKNOWN:
                # Leaves the graph here. After a resume the row says what was decided; the value given to
                # the resume is never looked at, so a wrong or repeated answer can't let anything through.
                interrupt({"tool_call_id": str(tool_call.pk), "tool": tool_call.tool, "args": tool_call.args})
                await in_database(tool_call.refresh_from_db)
            case ToolState.APPROVED:
                if await in_database(ledger.begin, run, tool_call):
                    await _execute(tool, tool_call)
            case ToolState.RUNNING:
                if await in_database(ledger.begin_again, run, tool_call):
                    await _execute(tool, tool_call)
            case _:
                return await in_database(_message, tool_call, call_id)


async def _execute(tool: GatedTool, tool_call: ToolCall) -> None:
    """Runs the tool with the arguments of the record and records how it ended."""
    testpoint("before_effect")
    call = {"name": tool.name, "args": tool_call.true_args, "id": tool_call.call_id, "type": "tool_call"}
    context = contextvars.copy_context()
    context.run(current_call.set, tool_call)
    work = asyncio.create_task(_attempt(tool, call), context=context)
    try:
        async with asyncio.timeout(settings.TOOL_TIME_LIMIT):
            message = await asyncio.shield(work)
    except TimeoutError:
        work.cancel()
        error = f"No answer within {settings.TOOL_TIME_LIMIT:g} s."
        await in_database(ledger.give_up, current_run.get().run, tool_call, error)
    except asyncio.CancelledError:
        await _stopped(tool, tool_call, work)
        raise
    except GraphBubbleUp:
        raise
    except UNCERTAIN as error:
        await in_database(
            ledger.give_up, current_run.get().run, tool_call, f"{type(error).__name__}: {error}"
        )
    except Exception as error:
        logger.info("tool failed", exc_info=True, extra={"action": "tool_failed", "tool": tool.name})
        await in_database(
            ledger.finish, tool_call, ToolState.FAILED, error=f"{type(error).__name__}: {error}"
        )
    else:
        testpoint("after_effect")
        await in_database(ledger.finish, tool_call, ToolState.DONE, result=_text(message.content))


async def _attempt(tool: GatedTool, call: dict[str, Any]) -> Any:
    """An answer that got lost says nothing about the effect: what has a key is asked again under the same key."""
    pauses = AGAIN_AFTER if tool.effect == Effect.IDEMPOTENT else ()
    for pause in pauses:
        try:
            return await _call(tool.inner, call)
        except UNCERTAIN:
            await asyncio.sleep(pause)
    return await _call(tool.inner, call)


async def _call(inner: BaseTool, call: dict[str, Any]) -> Any:
    """On the loop when the tool is a coroutine, else in a thread that gives its database connection back."""
    if _is_coroutine(inner):
        return await inner.ainvoke(call)
    return await in_tool_thread(inner.invoke, call)


def _is_coroutine(inner: BaseTool) -> bool:
    if isinstance(inner, StructuredTool):
        return inner.coroutine is not None
    return type(inner)._arun is not BaseTool._arun


async def _stopped(tool: GatedTool, tool_call: ToolCall, work: asyncio.Task[Any]) -> None:
    """The run was stopped. A tool that ends within the grace is recorded as what it was."""
    await asyncio.wait([work], timeout=STOP_GRACE)
    if work.done() and not work.cancelled() and work.exception() is None:
        await in_database(ledger.finish, tool_call, ToolState.DONE, result=_text(work.result().content))
        return
    work.cancel()
    error = "Stopped while it ran."
    if not _is_coroutine(tool.inner):  # nothing ends a thread from outside
        error = "Stopped, but it could not be interrupted: it may still go on."
    await in_database(ledger.give_up, current_run.get().run, tool_call, error)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)


def answer_for(thread_id: UUID, call_id: str, tool: str) -> ToolMessage:
    """What to tell the model of a call that its graph never answered: what the ledger has, or that it did not run."""
    calls = ToolCall.objects.select_related("decided_by").filter(
        thread=thread_id, call_id=call_id, tool=tool, kind=CallKind.CALL
    )
    tool_call = calls.order_by("-created_at").first()
    if tool_call is not None and tool_call.is_settled:
        return _message(tool_call, call_id)
    if tool_call is not None and tool_call.state == ToolState.UNKNOWN:
        unknown = "It was cut off while it ran. Whether it took effect is not known; a person is finding out."
        return ToolMessage(unknown, tool_call_id=call_id, name=tool, status="error")
    return ToolMessage("Not run: the turn was stopped.", tool_call_id=call_id, name=tool, status="error")


def _message(tool_call: ToolCall, call_id: str) -> ToolMessage:
    """What the model is told of a settled call."""
    ok = tool_call.state in (ToolState.DONE, ToolState.RESPONDED)
    status = "success" if ok else "error"
    return ToolMessage(told(tool_call), tool_call_id=call_id, name=tool_call.tool, status=status)


def told(tool_call: ToolCall) -> str:
    """What is said of a settled call. Raises ValueError for one that is not."""
    match tool_call.state:
        case ToolState.DONE | ToolState.RESPONDED:
            return tool_call.result
        case ToolState.FAILED:
            return f"Error: {tool_call.error}"
        case ToolState.REJECTED:
            by = tool_call.decided_by.get_username() if tool_call.decided_by else "nobody"
            return f"Rejected by {by}: {tool_call.reason}"
        case ToolState.DENIED:
            return f"Denied by policy: {tool_call.reason or tool_call.policy}"
        case ToolState.EXPIRED:
            return "Expired: nobody decided in time."
        case ToolState.SUPERSEDED:
            return "Superseded by a newer message."
        case ToolState.CANCELLED:
            return "Cancelled by the requester."
    raise ValueError(f"A call that is {tool_call.state} has no answer yet.")
