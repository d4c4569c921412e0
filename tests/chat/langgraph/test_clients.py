"""LangGraph's own Python client against the running product: web, worker, model endpoint, every process real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from typing import Any
from uuid import uuid4

import pytest
from accounts.models import User
from assistants.shop.models import Order, Refund
from django.db.models import Q
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, PermissionDeniedError
from runtime import decisions
from runtime.models import Assistant, Run, RunStatus, ToolCall, ToolState

from apps.approvals.models import PolicyRule
from tests.chat.langgraph.conftest import key_of
from tests.support.demo import DemoModel
from tests.support.processes import until
from tests.support.product import Product, running

pytestmark = pytest.mark.django_db(transaction=True)

HELLO = {"messages": [{"role": "user", "content": "hello"}]}
ENGINE = {"langgraph", "langchain", "langchain_core", "langchain_openai"}  # what only workers load
REFUND = {"messages": [{"type": "human", "content": "Refund order 1042", "id": "first"}]}


@pytest.fixture
def product(transactional_db: None, demo_model: DemoModel, assistant: Assistant) -> Iterator[Product]:
    with running(OPENAI_BASE_URL=demo_model.base_url, OPENAI_MODEL="demo-model") as product:
        yield product


Connect = Callable[[User], LangGraphClient]


@pytest.fixture
def connect(product: Product) -> Connect:
    def make(user: User) -> LangGraphClient:
        return get_client(url=f"{product.url}/api/langgraph", api_key=key_of(user))

    return make


def drive(work: Callable[..., Any], *clients: LangGraphClient) -> Any:
    """Runs a coroutine that talks to the product; what reads the database stays outside of it."""

    async def whole() -> Any:
        async with AsyncExitStack() as stack:
            return await work(*[await stack.enter_async_context(client) for client in clients])

    return asyncio.run(whole())


async def heard(stream: AsyncIterator[Any]) -> list[Any]:
    return [part async for part in stream]


def events_of(parts: list[Any]) -> list[str]:
    return [part.event for part in parts]


def waiting(thread_id: str) -> ToolCall:
    return ToolCall.objects.get(thread=thread_id, state=ToolState.WAITING)


def test_a_client_talks_waits_and_looks(connect: Connect, alice: User) -> None:
    """One product for all that needs no decision: it takes seconds to start."""

    async def talk(client: LangGraphClient) -> None:
        assistants = await client.assistants.search(graph_id="shop")
        assert [each["name"] for each in assistants] == ["Shop assistant"]
        schemas = await client.assistants.get_schemas("shop")
        assert "messages" in schemas["input_schema"]["properties"]
        drawing = await client.assistants.get_graph("shop")
        assert {"model", "tools"} <= {node["id"] for node in drawing["nodes"]}

        thread = await client.threads.create(metadata={"room": "1"})
        assert (thread["status"], thread["values"]) == ("idle", None)
        values = await client.runs.wait(thread["thread_id"], "shop", input=HELLO)
        assert [message["type"] for message in values["messages"]] == ["human", "ai"]
        found = await client.threads.search(metadata={"graph_id": "shop", "room": "1"}, values={})
        assert [each["thread_id"] for each in found] == [thread["thread_id"]]
        assert found[0]["values"] == values
        assert await client.threads.count(metadata={"room": "1"}) == 1

        state = await client.threads.get_state(thread["thread_id"])
        assert state["values"] == values
        assert state["next"] == []
        assert state["checkpoint"]["checkpoint_id"]
        history = await client.threads.get_history(thread["thread_id"], limit=50)
        assert history[0]["checkpoint"] == state["checkpoint"]
        assert history[-1]["parent_checkpoint"] is None
        again = await client.threads.get_state(thread["thread_id"], history[1]["checkpoint"])
        assert again["checkpoint"] == history[1]["checkpoint"]

        parts = await heard(
            client.runs.stream(
                thread["thread_id"],
                "shop",
                input=HELLO,
                stream_mode=[
                    "values",
                    "updates",
                    "messages-tuple",
                    "custom",
                    "tasks",
                    "checkpoints",
                    "debug",
                ],
            )
        )
        names = events_of(parts)
        assert (names[0], names[-1]) == ("metadata", "end")
        assert {"values", "updates", "messages", "tasks", "checkpoints", "debug"} <= set(names)
        said = "".join(part.data[0]["content"] for part in parts if part.event == "messages")
        last = [part.data for part in parts if part.event == "values"][-1]
        assert last["messages"][-1]["content"] in said
        assert len(last["messages"]) == 4

        runs = await client.runs.list(thread["thread_id"])
        assert [each["status"] for each in runs] == ["success", "success"]
        replayed = await heard(
            client.runs.join_stream(thread["thread_id"], runs[0]["run_id"], last_event_id="-1")
        )
        assert [(part.event, part.data) for part in replayed] == [(part.event, part.data) for part in parts]
        middle = parts[len(parts) // 2]
        rest = await heard(
            client.runs.join_stream(thread["thread_id"], runs[0]["run_id"], last_event_id=middle.id)
        )
        assert [part.id for part in rest[1:]] == [part.id for part in parts[len(parts) // 2 + 1 :]]

        events = await heard(
            client.runs.stream(thread["thread_id"], "shop", input=HELLO, stream_mode="events")
        )
        assert {"on_chain_start", "on_chat_model_stream"} <= {
            part.data["event"] for part in events if part.event == "events"
        }
        old = await heard(
            client.runs.stream(thread["thread_id"], "shop", input=HELLO, stream_mode="messages")
        )
        assert {"messages/metadata", "messages/partial"} <= set(events_of(old))

        alone = await client.runs.wait(None, "shop", input=HELLO)
        assert alone["messages"][-1]["type"] == "ai"
        assert await client.threads.count() == 1

        written = await client.threads.update_state(
            thread["thread_id"], {"messages": [{"role": "user", "content": "by hand"}]}
        )
        assert written["checkpoint"]["checkpoint_id"]
        changed = await client.threads.get_state(thread["thread_id"])
        assert changed["values"]["messages"][-1]["content"] == "by hand"
        await client.runs.delete(thread["thread_id"], runs[0]["run_id"])
        with pytest.raises(NotFoundError):
            await client.runs.get(thread["thread_id"], runs[0]["run_id"])
        await client.threads.delete(thread["thread_id"])
        with pytest.raises(NotFoundError):
            await client.threads.get(thread["thread_id"])

    drive(talk, connect(alice))


STORY = {"messages": [{"role": "user", "content": "tell me a long story"}]}


async def begun(client: LangGraphClient, where: str, **options: Any) -> str:
    """A run that has said something, and is left there."""
    run_id = ""
    stream = client.runs.stream(where, "shop", input=STORY, stream_mode="messages-tuple", **options)
    async with aclosing(stream) as parts:
        async for part in parts:
            run_id = run_id or part.data["run_id"]
            if part.event == "messages":
                break
    return run_id


def test_a_client_stops_a_run_and_hears_of_what_went_wrong(
    transactional_db: None, assistant: Assistant, alice: User, carol: User
) -> None:
    async def stop(client: LangGraphClient, stranger: LangGraphClient) -> str:
        thread = await client.threads.create()
        where = thread["thread_id"]
        run_id = await begun(client, where)  # to go away stops nothing
        assert (await client.runs.get(where, run_id))["status"] == "running"
        with pytest.raises(NotFoundError):
            await stranger.runs.cancel(where, run_id)
        with pytest.raises(ConflictError, match="already running a task"):
            await client.runs.create(where, "shop", input=HELLO, multitask_strategy="reject")
        await client.runs.cancel(where, run_id, wait=True)
        assert (await client.runs.get(where, run_id))["status"] == "interrupted"
        assert (await client.threads.get(where))["status"] == "idle"

        undone = await begun(client, where)
        await client.runs.cancel(where, undone, wait=True, action="rollback")
        with pytest.raises(NotFoundError):
            await client.runs.get(where, undone)
        state = await client.threads.get_state(where)
        assert [each["content"] for each in state["values"]["messages"]] == ["tell me a long story"]
        values = await client.runs.wait(where, "shop", input=HELLO)
        said = [each["content"] for each in values["messages"] if each["type"] == "human"]
        assert said == ["tell me a long story", "hello"]

        left = await begun(client, where, on_disconnect="cancel")
        for _ in range(100):
            if (await client.runs.get(where, left))["status"] == "interrupted":
                break
            await asyncio.sleep(0.2)
        else:
            raise AssertionError("It was not stopped.")
        new = str(uuid4())
        assert await client.runs.wait(new, "shop", input=HELLO, if_not_exists="create")
        return str(where)

    with (
        DemoModel(delay=100) as model,
        running(OPENAI_BASE_URL=model.base_url, OPENAI_MODEL="demo-model") as product,
    ):
        key = f"{product.url}/api/langgraph"
        clients = [get_client(url=key, api_key=key_of(person)) for person in (alice, carol)]
        drive(stop, *clients)
        assert not [name for name in product.web.modules() if name.split(".")[0] in ENGINE]


def test_an_interrupt_is_answered_by_whoever_may(
    connect: Connect, alice: User, bob: User, order: Order, rules: None
) -> None:
    async def ask(client: LangGraphClient) -> str:
        thread = await client.threads.create()
        where = thread["thread_id"]
        parts = await heard(
            client.runs.stream(where, "shop", input=REFUND, stream_mode=["values", "updates"])
        )
        (asked,) = [part.data for part in parts if part.event == "values"][-1]["__interrupt__"]
        request = asked["value"]["action_requests"][0]
        assert (request["name"], request["args"]["amount"]) == ("refund_order", "59.90")
        assert "approve" in asked["value"]["review_configs"][0]["allowed_decisions"]
        found = await client.threads.get(where)
        assert found["status"] == "interrupted"
        assert [each["id"] for (task,) in [found["interrupts"].values()] for each in task] == [asked["id"]]
        assert (await client.runs.list(where))[0]["status"] == "success"
        state = await client.threads.get_state(where)
        assert state["next"] == ["tools"]
        assert state["tasks"][0]["interrupts"] == [asked]
        before = len(await client.runs.list(where))
        with pytest.raises(PermissionDeniedError):
            await client.runs.create(where, "shop", command={"resume": {"decisions": [{"type": "approve"}]}})
        with pytest.raises(PermissionDeniedError):
            await client.runs.create(where, "shop", command={"resume": [{"type": "accept", "args": None}]})
        for command in ({"resume": {"0" * 32: "yes"}}, {"goto": "model"}):
            with pytest.raises(ConflictError):
                await client.runs.create(where, "shop", command=command)
        with pytest.raises(ConflictError):
            await client.runs.create(where, "shop", input=HELLO)
        with pytest.raises(ConflictError):
            await client.threads.update_state(where, {"messages": []}, as_node="tools")
        assert len(await client.runs.list(where)) == before
        return str(where)

    where = drive(ask, connect(alice))
    call = waiting(where)
    assert Refund.objects.count() == 0
    decisions.decide(bob, call.pk, {"type": "approve", "digest": call.args_digest})
    resumed = Run.objects.get(thread=where, command__isnull=False)

    async def go_on(client: LangGraphClient) -> None:
        parts = await heard(client.runs.join_stream(where, str(resumed.pk), last_event_id="-1"))
        assert events_of(parts)[-1] == "end"
        last = [part.data for part in parts if part.event == "values"][-1]
        assert "__interrupt__" not in last
        assert last["messages"][-1]["type"] == "ai"
        with pytest.raises(ConflictError):
            await client.runs.create(where, "shop", command={"resume": {"decisions": [{"type": "approve"}]}})

    drive(go_on, connect(alice))
    assert Refund.objects.count() == 1


def test_the_requester_confirms_where_a_rule_lets_them(connect: Connect, alice: User) -> None:
    PolicyRule.objects.create(name="Confirm", tool="refund_order", verdict="ask", requester_confirms=True)
    for number in (1, 2, 3):
        Order.objects.create(number=number, customer="Ada", email="ada@example.com", total="59.90")
    edited = {"action": "refund_order", "args": {"order_number": "2", "amount": "10.00"}}
    answers: list[Callable[[str], Any]] = [
        lambda id: {"decisions": [{"type": "approve"}]},
        lambda id: [{"type": "edit", "args": edited}],
        lambda id: {id: {"type": "approve"}},
    ]

    async def confirm(client: LangGraphClient) -> None:
        for number, answer in enumerate(answers, start=1):
            where = (await client.threads.create())["thread_id"]
            ask = {"messages": [{"role": "user", "content": f"Refund order {number}"}]}
            (asked,) = (await client.runs.wait(where, "shop", input=ask))["__interrupt__"]
            command = {"resume": answer(asked["id"])}
            last = await client.runs.wait(where, "shop", command=command, input={})
            assert "__interrupt__" not in last

    drive(confirm, connect(alice))
    refunds = Refund.objects.order_by("order__number").values_list("order__number", "amount")
    assert [(number, str(amount)) for number, amount in refunds] == [(1, "59.90"), (2, "10.00"), (3, "59.90")]


def test_going_to_the_end_withdraws(connect: Connect, alice: User, order: Order, rules: None) -> None:
    async def withdraw(client: LangGraphClient) -> str:
        thread = await client.threads.create()
        where = thread["thread_id"]
        await client.runs.wait(where, "shop", input=REFUND)
        await client.runs.wait(where, "shop", command={"goto": "__end__"})
        assert (await client.threads.get(where))["status"] == "idle"
        await client.runs.wait(
            where, "shop", input={"messages": [{"role": "user", "content": "Refund order 1042"}]}
        )
        await client.threads.update_state(where, None, as_node="__end__")
        return str(where)

    where = drive(withdraw, connect(alice))
    until(lambda: not Run.objects.filter(Q(status=RunStatus.RUNNING) | Q(status=RunStatus.PENDING)).exists())
    assert set(
        ToolCall.objects.filter(thread=where, tool="refund_order").values_list("state", flat=True)
    ) == {ToolState.CANCELLED}
    assert Refund.objects.count() == 0
