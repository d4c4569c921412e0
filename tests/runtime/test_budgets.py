"""Budgets: what is reserved, settled and let go of, at the door and in the middle of a turn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from accounts.models import User
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from langgraph.graph import START, MessagesState, StateGraph
from pytest_django.fixtures import Settings
from runtime import budgets, meter, prices, runs
from runtime.exceptions import BudgetUsedUp
from runtime.invariants import violations
from runtime.llm import chat_model
from runtime.meter import Meter
from runtime.models import (
    AuditEvent,
    Budget,
    ModelPrice,
    Reservation,
    Run,
    RunStatus,
    Spending,
    Thread,
)

from tests.support.engines import EngineOn, take_turn
from tests.support.processes import until
from tests.support.programs import Program, key_of

ONE = Decimal(1)


def priced(model: str = "demo-model", input: str = "0", output: str = "1000") -> ModelPrice:
    return ModelPrice.objects.create(model=model, input=input, cached_input="0", output=output)


def budget(amount: str = "1.00", **fields: Any) -> Budget:
    return Budget.objects.create(amount=amount, **fields)


def begun(thread: Thread) -> Run:
    run = Run.claim(runs.send_message(thread, thread.owner, "go").pk, "w")
    assert run is not None
    return run


@pytest.mark.django_db
class TestReserving:
    def test_nothing_is_held_without_a_budget(self, thread: Thread) -> None:
        assert budgets.reserve(begun(thread), ONE) is None

    def test_what_is_reserved_is_not_there_for_others(self, thread: Thread) -> None:
        budget("1.00")
        run = begun(thread)

        budgets.reserve(run, Decimal("0.70"))

        with pytest.raises(budgets.OthersHold):
            budgets.reserve(run, Decimal("0.40"))
        assert Spending.objects.get().reserved == Decimal("0.70")
        assert violations() == []

    def test_settling_frees_what_was_not_needed(self, thread: Thread) -> None:
        budget("1.00")
        run = begun(thread)
        held = budgets.reserve(run, Decimal("0.70"))
        assert held

        budgets.settle(held, Decimal("0.123456789012"))

        spending = Spending.objects.get()
        assert (spending.spent, spending.reserved) == (Decimal("0.123456789012"), 0)
        assert budgets.reserve(run, Decimal("0.80"))

    def test_a_budget_that_can_t_pay_for_it_is_used_up(self, thread: Thread) -> None:
        budget("1.00")

        with pytest.raises(BudgetUsedUp, match="everybody for today is used up"):
            budgets.reserve(begun(thread), Decimal("1.01"))
        assert not Reservation.objects.exists()

    def test_all_budgets_or_none(self, thread: Thread, alice: User) -> None:
        budget("5.00", period="month")
        budget("0.10", user=alice)

        with pytest.raises(BudgetUsedUp, match="Your budget for today"):
            budgets.reserve(begun(thread), ONE)
        assert {row.reserved for row in Spending.objects.all()} <= {Decimal(0)}

    def test_whose_budget_it_is(self, thread: Thread, alice: User, carol: User) -> None:
        group = Group.objects.create(name="Sales")
        alice.groups.add(group)
        budget("1", user=alice)
        budget("2", user=carol)
        budget("3", group=group)
        budget("4", group=Group.objects.create(name="Others"))
        budget("5")
        budget("6", is_each=True)
        budget("7", is_active=False)

        assert [each.budget.amount for each in budgets.spendings_of(alice.pk)] == [1, 3, 5, 6]

    def test_a_budget_for_each_is_no_other_s(self, thread: Thread, alice: User, carol: User) -> None:
        budget("1.00", is_each=True)
        other = Thread.objects.create(owner=carol, assistant=thread.assistant)

        assert budgets.reserve(begun(thread), ONE)
        assert budgets.reserve(begun(other), ONE)
        assert {row.user for row in Spending.objects.all()} == {alice, carol}

    def test_what_a_lost_run_holds_is_charged(self, thread: Thread) -> None:
        budget("1.00")
        run = begun(thread)
        budgets.reserve(run, ONE)
        assert budgets.charge_lost() == 0  # it lives

        Run.objects.filter(pk=run.pk).update(attempt=run.attempt + 1)
        runs.reconcile()

        spending = Spending.objects.get()
        assert (spending.spent, spending.reserved) == (ONE, 0)
        assert not Reservation.objects.exists()

    def test_what_it_did_cost_takes_the_place_of_what_was_charged_for_a_lost_one(
        self, thread: Thread
    ) -> None:
        budget("1.00")
        run = begun(thread)
        held = budgets.reserve(run, ONE)
        assert held
        run.finish(RunStatus.ERROR)
        assert budgets.charge_lost() == 1

        budgets.settle(held, Decimal("0.30"))

        spending = Spending.objects.get()
        assert (spending.spent, spending.reserved) == (Decimal("0.30"), 0)

    def test_an_invariant_finds_what_is_reserved_for_nothing(self, thread: Thread) -> None:
        budget("1.00")
        budgets.reserve(begun(thread), ONE)
        Reservation.objects.all().delete()

        assert "reserved-for-nothing" in {each.name for each in violations()}

    def test_the_database_keeps_out_a_budget_of_two(self, alice: User) -> None:
        with pytest.raises(IntegrityError):
            budget(user=alice, group=Group.objects.create(name="Sales"))


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_only_as_many_get_it_as_it_pays_for(thread: Thread, alice: User) -> None:
    for period in ("day", "month"):
        budget("1.00", period=period)
    budget("1.00", user=alice)
    run = begun(thread)
    together = threading.Barrier(20)

    def take(_: int) -> bool:
        together.wait(30)
        try:
            return budgets.reserve(run, Decimal("0.10")) is not None
        except (BudgetUsedUp, budgets.OthersHold):
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        taken = list(pool.map(take, range(20)))

    assert sum(taken) == 10
    assert {row.reserved for row in Spending.objects.all()} == {ONE}
    assert violations() == []


class TestPeriods:
    def test_a_day_and_a_month_end_in_the_time_zone_of_the_installation(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.TIME_ZONE = "Asia/Shanghai"
        monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 1, 31, 17, 0, tzinfo=UTC))

        assert budgets.begin_of("day") == date(2026, 2, 1)
        assert budgets.end_of("day") == datetime(2026, 2, 1, 16, 0, tzinfo=UTC)
        assert budgets.end_of("month") == datetime(2026, 2, 28, 16, 0, tzinfo=UTC)

    def test_december_is_followed_by_january(self) -> None:
        assert budgets.begin_of("month", date(2026, 12, 31)) == date(2026, 12, 1)


class TestPrices:
    def test_cached_input_costs_less(self) -> None:
        price = prices.Price(Decimal("2"), Decimal("0.5"), Decimal("8"))

        assert price.of(1000, 100, cached=400) == Decimal("0.0022")

    @pytest.mark.django_db
    def test_the_admin_s_price_goes_before_the_setting_s(self, settings: Settings) -> None:
        settings.MODEL_PRICES = {"a": (ONE, ONE, ONE), "b": (ONE, ONE, ONE)}
        priced("a", output="5")

        rates = prices.rates()
        found = [rates.of(model) for model in "abc"]

        assert [price.output if price else None for price in found] == [5, 1, None]

    @pytest.mark.django_db
    def test_a_change_is_audited_and_seen_at_once(self) -> None:
        prices.rates()
        price = priced()
        price.output = Decimal("7")
        price.save()
        limit = budget("1.00")
        limit.delete()

        found = prices.rates().of("demo-model")
        assert found
        assert found.output == 7
        told = list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))
        assert told == ["model_price.created", "model_price.changed", "budget.created", "budget.deleted"]


@pytest.mark.django_db
class TestAtTheDoor:
    def spend(self, amount: str) -> None:
        Spending.objects.create(budget=budget("1.00"), begins=budgets.begin_of("day"), spent=amount)

    def test_a_turn_is_refused_until_the_period_s_end(self, thread: Thread, alice: User) -> None:
        self.spend("1.00")

        with pytest.raises(BudgetUsedUp) as refused:
            runs.send_message(thread, alice, "go")

        assert refused.value.status == 429
        assert 0 < refused.value.retry_after <= 24 * 3600
        assert not Run.objects.exists()

    def test_the_api_says_when(self, alice: User, assistant: object) -> None:
        self.spend("1.00")

        answer = Program(key_of(alice)).post("/tasks", {"topic": "Bees"})

        assert answer.status_code == 429, answer.content
        assert 0 < int(answer.headers["Retry-After"]) <= 24 * 3600
        assert "used up" in answer.json()["detail"]

    def test_the_page_says_it_and_keeps_the_text(
        self, thread: Thread, alice: User, signed_in: Callable[[User], Client]
    ) -> None:
        self.spend("1.00")

        page = signed_in(alice).post(f"/threads/{thread.pk}/messages/", {"text": "What bees like"})

        assert page.status_code == 429
        assert "used up" in page.content.decode()
        assert "What bees like" in page.content.decode()

    def test_what_is_left_but_pays_for_no_call_is_refused_too(
        self, thread: Thread, alice: User, settings: Settings
    ) -> None:
        settings.OPENAI_MODEL, settings.MODEL_MAX_OUTPUT = "demo-model", 1000
        priced(output="100")  # 0.10 a call, at most
        self.spend("0.91")

        with pytest.raises(BudgetUsedUp):
            runs.send_message(thread, alice, "go")

    def test_what_others_spend_is_theirs(self, thread: Thread, alice: User, carol: User) -> None:
        Spending.objects.create(budget=budget("1.00", user=carol), begins=budgets.begin_of("day"), spent=1)

        assert runs.send_message(thread, alice, "go").status == RunStatus.PENDING

    def test_without_a_budget_it_costs_one_look_a_second(self, thread: Thread, alice: User) -> None:
        with CaptureQueriesContext(
            connection,
        ) as first:
            budgets.check(alice)
        with CaptureQueriesContext(connection) as second:
            budgets.check(alice)

        assert (len(first), len(second)) == (1, 0)


@pytest.mark.django_db(transaction=True)
class TestInTheMiddleOfATurn:
    def test_what_calls_cost_stays_with_the_run(self, thread: Thread, engine_on: EngineOn) -> None:
        priced(input="1000", output="2000")
        with engine_on() as engine:
            run = take_turn(engine, thread, "hello")

        (call,) = run.model_calls
        assert (call["input_tokens"], call["output_tokens"]) == (run.input_tokens, run.output_tokens)
        assert run.cost == Decimal(call["cost"]) == Decimal(run.input_tokens + 2 * run.output_tokens) / 1000
        assert not Spending.objects.exists()

    def test_it_is_settled_by_what_the_endpoint_counted(self, thread: Thread, engine_on: EngineOn) -> None:
        priced(output="1000")
        budget("100")
        with engine_on() as engine:
            run = take_turn(engine, thread, "look up order 1042")

        assert run.status == RunStatus.SUCCESS, run.error
        assert len(run.model_calls) == 2
        spending = Spending.objects.get()
        assert spending.spent == run.cost == Decimal(run.output_tokens) / 1000
        assert spending.reserved == 0

    def test_the_turn_ends_with_what_was_said_and_the_thread_goes_on(
        self, thread: Thread, engine_on: EngineOn, settings: Settings
    ) -> None:
        settings.MODEL_MAX_OUTPUT = 1000
        priced(output="1000")  # 1.00 reserved for each call
        limit = budget("1.00")
        with engine_on() as engine:
            run = take_turn(engine, thread, "look up order 1042")  # the second call can't be paid

            assert (run.status, run.error_type) == (RunStatus.ERROR, "BudgetUsedUp")
            assert "The budget of everybody for today is used up. It starts anew on" in run.error
            assert len(run.model_calls) == 1
            assert thread.tool_calls.count() == 1
            assert Spending.objects.get().spent == run.cost > 0
            assert Spending.objects.get().reserved == 0

            limit.amount = Decimal(100)
            limit.save()
            assert take_turn(engine, thread, "hello").status == RunStatus.SUCCESS
        assert violations(settled=True) == []

    def test_a_model_without_a_price_is_not_called(self, thread: Thread, engine_on: EngineOn) -> None:
        budget("100")
        with engine_on() as engine:
            run = take_turn(engine, thread, "hello")

        assert (run.status, run.error_type) == (RunStatus.ERROR, "NoPrice")
        assert "Prices of models" in run.error
        assert run.model_calls == []

    def test_a_call_that_breaks_off_is_charged_by_what_had_come(
        self, thread: Thread, engine_on: EngineOn
    ) -> None:
        priced("demo-model+cut", output="1000", input="1000")
        budget("1000")
        with engine_on("demo-model+cut") as engine:
            run = take_turn(engine, thread, "hello")

        assert run.status == RunStatus.ERROR
        (call,) = run.model_calls
        assert call["is_estimated"]
        assert call["output_tokens"] > 0
        assert Spending.objects.get().spent == run.cost > 0

    def test_a_call_that_is_stopped_while_the_endpoint_thinks_costs_what_it_may_have(
        self, thread: Thread, engine_on: EngineOn, settings: Settings
    ) -> None:
        """Whoever stops each turn before its first character would reach no budget."""
        settings.MODEL_MAX_OUTPUT = 1000
        priced("demo-model+hang", input="1000", output="1000")
        budget("1000")
        with engine_on("demo-model+hang") as engine:
            run = runs.send_message(thread, thread.owner, "hello")
            performed = engine.start(str(run.pk))
            until(Reservation.objects.exists)
            held = Reservation.objects.get().amount
            time.sleep(0.5)  # the request goes out, and nothing tells of that
            runs.cancel_run(run)
            assert performed.result(30) == RunStatus.CANCELLED

        spending = Spending.objects.get()
        run.refresh_from_db()
        assert (spending.spent, spending.reserved) == (held, 0)
        assert run.cost == held > ONE
        assert run.model_calls[0]["is_estimated"]

    def test_a_call_that_is_stopped_while_it_waits_costs_nothing(
        self, thread: Thread, engine_on: EngineOn, settings: Settings
    ) -> None:
        settings.MODEL_MAX_OUTPUT = 1000
        priced(output="1000")
        budget("1.00")
        other = Thread.objects.create(owner=thread.owner, assistant=thread.assistant)
        assert budgets.reserve(begun(other), ONE)
        with engine_on() as engine:
            run = runs.send_message(thread, thread.owner, "hello")
            performed = engine.start(str(run.pk))
            with pytest.raises(TimeoutError):
                performed.result(1.0)
            runs.cancel_run(run)
            assert performed.result(30) == RunStatus.CANCELLED

        run.refresh_from_db()
        spending = Spending.objects.get()
        assert (run.cost, spending.spent, spending.reserved) == (0, 0, ONE)

    async def test_one_that_is_stopped_in_the_middle_of_reserving_holds_nothing(
        self, thread: Thread, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sync_to_async(priced)()
        await sync_to_async(budget)()
        run = await sync_to_async(begun)(thread)
        reserving, may_go_on = threading.Event(), threading.Event()

        def slowly(run: Run, amount: Decimal) -> budgets.Held | None:
            reserving.set()
            may_go_on.wait(10)
            return reserve(run, amount)

        reserve = budgets.reserve
        monkeypatch.setattr(budgets, "reserve", slowly)

        async def call() -> None:
            async with Meter(run).call("demo-model", dict):
                pytest.fail("it is not made")

        calling = asyncio.create_task(call())
        await asyncio.to_thread(reserving.wait, 10)
        calling.cancel()
        await asyncio.sleep(0.1)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await calling

        spending = await Spending.objects.aget()
        assert (spending.spent, spending.reserved) == (0, 0)

    async def test_a_call_that_waits_puts_its_payload_together_once_and_not_where_the_heartbeat_is_written(
        self, thread: Thread, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await sync_to_async(priced)()
        await sync_to_async(budget)()
        run = await sync_to_async(begun)(thread)
        held = await sync_to_async(budgets.reserve)(run, ONE)
        assert held
        monkeypatch.setattr(meter, "WAIT", 1.0)
        threads: list[str] = []

        def payload() -> dict[str, Any]:
            threads.append(threading.current_thread().name)
            return {"max_completion_tokens": 500}

        with pytest.raises(BudgetUsedUp):
            async with Meter(run).call("demo-model", payload):
                pytest.fail("it is not made")

        (name,) = threads
        assert not name.startswith("database")

    def test_a_call_that_was_refused_costs_nothing(self, thread: Thread, engine_on: EngineOn) -> None:
        priced("demo-model+401")
        budget("1000")
        with engine_on("demo-model+401") as engine:
            run = take_turn(engine, thread, "hello")

        assert run.status == RunStatus.ERROR
        assert (run.model_calls, run.cost) == ([], 0)
        spending = Spending.objects.get()
        assert (spending.spent, spending.reserved) == (0, 0)

    def test_a_call_waits_for_what_another_holds(
        self, thread: Thread, engine_on: EngineOn, settings: Settings
    ) -> None:
        settings.MODEL_MAX_OUTPUT = 1000
        priced(output="1000")
        budget("1.00")
        other = Thread.objects.create(owner=thread.owner, assistant=thread.assistant)
        held = budgets.reserve(begun(other), ONE)
        assert held
        with engine_on() as engine:
            run = runs.send_message(thread, thread.owner, "hello")
            performed = engine.start(str(run.pk))
            with pytest.raises(TimeoutError):
                performed.result(1.0)
            budgets.settle(held, Decimal(0))

            assert performed.result(30) == RunStatus.SUCCESS

    @pytest.mark.parametrize("is_streamed", [True, False])
    def test_a_node_that_blocks_is_held_by_it_too(
        self, on: Callable[[Any], Thread], engine_on: EngineOn, is_streamed: bool
    ) -> None:
        def node(state: MessagesState) -> dict[str, Any]:
            return {"messages": [chat_model().invoke(state["messages"], stream=is_streamed)]}

        priced(output="1000")
        budget("100")
        thread = on(StateGraph(MessagesState).add_node("ask", node).add_edge(START, "ask").compile)
        with engine_on() as engine:
            run = take_turn(engine, thread, "hello")
            assert run.status == RunStatus.SUCCESS, run.error
            assert Spending.objects.get().spent == run.cost > 0
