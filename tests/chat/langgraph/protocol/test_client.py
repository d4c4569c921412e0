"""`client.threads.stream()` of LangGraph's Python client against the running product, over both of its transports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from accounts.models import User
from assistants.shop.models import Order, Refund
from langgraph_sdk import get_client
from runtime.models import Assistant, ToolCall, ToolState

from apps.approvals.models import PolicyRule
from tests.chat.langgraph.conftest import key_of
from tests.support.demo import DemoModel
from tests.support.product import Product, running

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 30.0  # seconds
HELLO: Any = {"messages": [{"role": "user", "content": "hello"}]}
REFUND: Any = {"messages": [{"role": "user", "content": "Refund order 1042"}]}


@pytest.fixture
def product(transactional_db: None, demo_model: DemoModel, assistant: Assistant) -> Iterator[Product]:
    with running(OPENAI_BASE_URL=demo_model.base_url, OPENAI_MODEL="demo-model") as product:
        yield product


@pytest.fixture
def confirms(db: None) -> Order:
    PolicyRule.objects.create(
        name="Confirm", tool="refund_order", verdict="ask", requester_confirms=True, priority=1
    )
    return Order.objects.create(number=1042, customer="Ada", total="59.90")


def drive(product: Product, key: str, work: Callable[[Any], Any]) -> Any:
    """Runs a coroutine that talks to the product; what reads the database stays outside of it."""

    async def whole() -> Any:
        async with get_client(url=f"{product.url}/api/langgraph", api_key=key) as client:
            return await asyncio.wait_for(work(client), LIMIT)

    return asyncio.run(whole())


async def talk(client: Any, transport: str, headers: Any) -> tuple[list[Any], list[str], Any]:
    thread_id = (await client.threads.create())["thread_id"]
    async with client.threads.stream(
        thread_id, assistant_id="shop", transport=transport, headers=headers
    ) as thread:
        await thread.run.start(input=HELLO)
        messages = [message async for message in thread.messages]
        texts = [await message.text for message in messages]
        values = await thread.output
        events = []
        async for event in thread.events:
            if event.get("type") == "event":
                events.append(event)
                if event["method"] == "lifecycle" and event["params"]["data"]["event"] == "completed":
                    break
        return events, texts, values


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_a_turn_is_told_and_told_again(product: Product, alice: User, transport: str) -> None:
    headers = {"x-api-key": (key := key_of(alice))}  # the client does not send its own over a socket

    events, texts, values = drive(product, key, lambda client: talk(client, transport, headers))

    assert [message["type"] for message in values["messages"]] == ["human", "ai"]
    assert texts == [values["messages"][-1]["content"]]
    methods = [event["method"] for event in events]
    assert {"lifecycle", "messages", "values", "checkpoints", "updates", "tasks"} <= set(methods)
    assert [e["params"]["data"]["event"] for e in events if e["method"] == "lifecycle"] == [
        "running",
        "completed",
    ]
    assert len({event["event_id"] for event in events}) == len(events)
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert [e["params"]["data"] for e in events if e["method"] == "values"][-1] == values


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_an_interrupt_is_answered(product: Product, alice: User, confirms: Order, transport: str) -> None:
    headers = {"x-api-key": (key := key_of(alice))}

    async def refund(client: Any) -> tuple[Any, Any]:
        async with client.threads.stream(assistant_id="shop", transport=transport, headers=headers) as thread:
            await thread.run.start(input=REFUND)
            while not thread.interrupted:
                await asyncio.sleep(0.05)
            (asked,) = thread.interrupts
            await thread.run.respond({"decisions": [{"type": "approve"}]})
            return asked, await thread.output

    asked, values = drive(product, key, refund)

    assert asked["value"]["action_requests"][0]["name"] == "refund_order"
    assert values["messages"][-1]["type"] == "ai"
    assert Refund.objects.count() == 1
    assert ToolCall.objects.get(tool="refund_order").state == ToolState.DONE
