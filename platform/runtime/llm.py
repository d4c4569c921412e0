"""The model client: ChatOpenAI with our bounds, one per process, that hands on no answer that was cut off."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from functools import cache, partial
from typing import Any, Self

import openai
from django.conf import settings
from django.utils.translation import gettext as _
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphRecursionError, NodeTimeoutError
from pydantic import SecretStr, model_validator

from runtime.context import current_run
from runtime.exceptions import (
    BudgetUsedUp,
    CallRefused,
    GraphNotFound,
    HasBreakpoints,
    LimitReached,
    ModelAnswerIncomplete,
    NoPrice,
    Unanswerable,
    UngatedTool,
)
from runtime.masking import StreamMask
from runtime.meter import Metered
from runtime.model_stream import BlockingHttpClient, HttpClient, MergingCompletions
from runtime.seal import Unreadable

# What a finished message says of itself. Anything else means that it is not whole.
FINISHED = {"stop", "tool_calls", "function_call"}
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it; PostgreSQL can't hold it


class ChatModel(ChatOpenAI):
    """Raises ModelAnswerIncomplete where LangChain would repair a cut-off answer into a valid tool call.

    Measured: a stream cut after `{"amount": 10` (of an intended 100) becomes a call with amount 10.
    """

    @model_validator(mode="after")
    def _merge_deltas(self) -> Self:
        self.async_client = MergingCompletions(self.root_async_client, idle=settings.MODEL_IDLE_TIMEOUT)
        # LangChain's limit is a wait_for around each chunk: on Python 3.11 that swallows a Stop which comes with one.
        self.stream_chunk_timeout = None
        return self

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        mask = StreamMask()
        async with self._metered(messages, stop, kwargs) as call:
            seen = _Seen(call)
            try:
                asked = {**kwargs, **(call.limits if call else {})}
                async for chunk in _limited(super()._astream(messages, stop, run_manager, **asked)):
                    seen.add(chunk)
                    yield _without_secrets(chunk, mask)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise _unreadable() from error
        if rest := mask.end():
            yield ChatGenerationChunk(message=AIMessageChunk(content=rest))
        seen.check()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        """For a node that blocks: the same checks, and the endpoint's time limits only."""
        mask = StreamMask()
        with self._metered_here(messages, stop, kwargs) as call:
            seen = _Seen(call)
            try:
                asked = {**kwargs, **(call.limits if call else {})}
                for chunk in super()._stream(messages, stop, run_manager, **asked):
                    seen.add(chunk)
                    yield _without_secrets(chunk, mask)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise _unreadable() from error
        if rest := mask.end():
            yield ChatGenerationChunk(message=AIMessageChunk(content=rest))
        seen.check()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """Whoever wants no stream gets what came of one: nothing passes by its checks."""
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **_streamed(kwargs)))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **_streamed(kwargs)))

    def _metered(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> AbstractAsyncContextManager[Metered | None]:
        """Outside of a run nobody's budget is spent."""
        context = current_run.get(None)
        if context is None:
            return nullcontext()
        payload = partial(self._get_request_payload, messages, stop=stop, **given)
        return context.meter.call(given.get("model") or self.model_name, payload)

    def _metered_here(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> AbstractContextManager[Metered | None]:
        context = current_run.get(None)
        if context is None:
            return nullcontext()
        payload = partial(self._get_request_payload, messages, stop=stop, **given)
        return context.meter.call_here(given.get("model") or self.model_name, payload)


def _unreadable() -> ModelAnswerIncomplete:
    return ModelAnswerIncomplete(
        _("The model endpoint sent something that can't be read. Nothing it asked for was run.")
    )


def _streamed(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "stream"}


def _without_secrets(chunk: ChatGenerationChunk, mask: StreamMask) -> ChatGenerationChunk:
    """Its text as far as it may go out. What a tool is called with stays: it is masked where it is shown and kept."""
    if isinstance(chunk.message.content, str) and chunk.message.content:
        text = mask.feed(chunk.message.content)
        if text != chunk.message.content:
            chunk.message.content = chunk.text = text
    return chunk


async def _limited(chunks: AsyncIterator[ChatGenerationChunk]) -> AsyncIterator[ChatGenerationChunk]:
    """Raises TimeoutError when the model takes longer than MODEL_TIME_LIMIT, or MODEL_IDLE_TIMEOUT between chunks.

    Never while whoever reads it is at work: a limit around that too would cancel the reader.
    """
    clock = asyncio.get_running_loop().time
    deadline = until = clock() + settings.MODEL_TIME_LIMIT
    with suppress(StopAsyncIteration):
        while True:
            async with asyncio.timeout_at(until):
                chunk = await anext(chunks)
            if clock() >= deadline:  # what is below may have swallowed the cancellation
                raise TimeoutError
            yield chunk
            until = min(deadline, clock() + settings.MODEL_IDLE_TIMEOUT)


class _Seen:
    """What went by of one streamed answer: how it ended, and each tool call's arguments as they were written."""

    def __init__(self, call: Metered | None) -> None:
        self._call = call
        self._finish_reason = ""
        self._arguments: dict[Any, str] = defaultdict(str)

    def add(self, chunk: ChatGenerationChunk) -> None:
        self._finish_reason = (chunk.generation_info or {}).get("finish_reason") or self._finish_reason
        if not isinstance(chunk.message, AIMessageChunk):
            return
        for part in chunk.message.tool_call_chunks:
            self._arguments[part.get("index")] += part.get("args") or ""
        if self._call is not None:
            self._count(self._call, chunk.message)

    def _count(self, call: Metered, message: AIMessageChunk) -> None:
        call.usage = message.usage_metadata or call.usage
        call.received += _bytes_of(message.content)
        for part in message.tool_call_chunks:
            call.received += _bytes_of(part.get("args") or "")

    def check(self) -> None:
        if not self._finish_reason:
            raise ModelAnswerIncomplete(_("The model's answer broke off. Nothing it asked for was run."))
        if self._arguments and self._finish_reason not in FINISHED:
            raise ModelAnswerIncomplete(
                _(
                    "The model's answer ended early (%(reason)s) inside a tool call. Nothing it asked for was run."
                )
                % {"reason": self._finish_reason}
            )
        for arguments in self._arguments.values():
            self._check_arguments(arguments)

    def _check_arguments(self, arguments: str) -> None:
        try:
            read = json.loads(arguments or "{}")
            json.dumps(read, ensure_ascii=False).encode()  # half a character is a ValueError
            is_kept = isinstance(read, dict) and not NUL.search(arguments)
        except ValueError:
            is_kept = False
        if not is_kept:
            raise ModelAnswerIncomplete(_("The model wrote a tool call that can't be read. Nothing was run."))


def _bytes_of(content: Any) -> int:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    return len(text.encode("utf-8", "replace"))


@cache
def chat_model() -> ChatModel:
    """The configured model, shared by every graph of the process."""
    idle = settings.MODEL_IDLE_TIMEOUT
    timeout = openai.Timeout(idle, connect=settings.MODEL_CONNECT_TIMEOUT)
    return ChatModel(
        model=settings.OPENAI_MODEL,
        base_url=settings.OPENAI_BASE_URL or None,
        api_key=SecretStr(settings.OPENAI_API_KEY or "unset"),
        timeout=timeout,
        # Our own: LangChain caches its client for the life of the process, beyond that of the event loop.
        http_async_client=HttpClient(timeout=timeout),
        http_client=BlockingHttpClient(timeout=timeout),
        max_retries=2,
        stream_usage=True,
        streaming=True,
    )


async def close() -> None:
    """Ends the model client's connections, before the event loop they belong to ends."""
    if chat_model.cache_info().currsize:
        await chat_model().root_async_client.close()
        chat_model().root_client.close()
        chat_model.cache_clear()


def explain(error: BaseException) -> str:
    """What a person is told of a failed run: what happened, and what to do about it."""
    match error:
        case ModelAnswerIncomplete() | GraphNotFound() | UngatedTool() | HasBreakpoints():
            return str(error)
        case BudgetUsedUp() | NoPrice():
            return str(error)
        case LimitReached() | Unanswerable() | CallRefused() | Unreadable():
            return str(error)
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return _("The model endpoint refused the key (%(status)s). Check OPENAI_API_KEY.") % {
                "status": error.status_code
            }
        case openai.NotFoundError():
            return _("The model endpoint does not know the model. Check OPENAI_MODEL and OPENAI_BASE_URL.")
        case openai.RateLimitError():
            return _("The model endpoint is over its limit. Try again in a minute.")
        case openai.APITimeoutError() | TimeoutError():
            return _("The model endpoint did not answer in time. Try again.")
        case openai.APIConnectionError():
            return _("The model endpoint can't be reached. Check OPENAI_BASE_URL, then try again.")
        case openai.APIStatusError():
            return _("The model endpoint answered %(status)s. Try again.") % {"status": error.status_code}
        case openai.APIError():
            return _("The model endpoint sent something that can't be read. Try again.")
        case NodeTimeoutError():
            return _("A step of the assistant took too long and was stopped. Try again.")
        case GraphRecursionError():
            return _("The assistant took more steps than are allowed and was stopped. Ask for less at once.")
        case _:
            return _(
                "Something went wrong inside the assistant. Try again; an operator finds it under this run's id."
            )
