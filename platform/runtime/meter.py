"""What the model calls of a run use: reserved before each, counted and settled after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from runtime import budgets, prices
from runtime.database import in_database, in_unit
from runtime.exceptions import BudgetUsedUp, NoPrice
from runtime.models import Run
from runtime.prices import Rates
from runtime.schemas import ModelCall

BYTES_A_TOKEN = 2  # at least: English has four, Chinese three, digits and identifiers two
WAIT = 30.0  # seconds for what other calls hold, until a call is given up
LOOK_AGAIN = 0.25  # seconds

Payload = dict[str, Any]


@dataclass
class Metered:
    """One model call. Whoever makes it tells what came of it."""

    run: Run
    model: str
    payload: Callable[[], Payload]
    """What is sent; dear to put together for a long thread."""
    rates: Rates
    limits: Payload = field(default_factory=dict)
    """What has to be asked for so that the call can't cost more than was reserved."""
    held: budgets.Held | None = None
    usage: Any = None
    """As LangChain has it, where the endpoint counted."""
    received: int = 0  # bytes of the answer
    lost: int = 0  # tries that were sent and whose answer never came

    def worst(self) -> Decimal:
        """What it costs at most. Raises NoPrice. Sets the limits that make it so."""
        price = self.rates.of(self.model)
        if price is None:
            raise NoPrice(
                _(
                    "No price is known for the model “%(model)s”, so no budget can be kept. "
                    "An operator sets it in the admin, under “Prices of models”."
                )
                % {"model": self.model}
            )
        payload = self.payload()
        asked = payload.get("max_completion_tokens") or payload.get("max_output_tokens")
        most = min(asked or settings.MODEL_MAX_OUTPUT, settings.MODEL_MAX_OUTPUT)
        self.limits = {"max_completion_tokens": most}
        return price.of(tokens_of(payload), most * (payload.get("n") or 1))

    def reserve(self) -> bool:
        """False when it has to be tried again in a moment."""
        try:
            self.held = budgets.reserve(self.run, self.worst())
        except budgets.OthersHold:
            return False
        if self.held is None:
            self.limits = {}
        return True

    def counted(self) -> ModelCall:
        usage = self.usage or {}
        used, said = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        is_estimated = not usage and bool(self.received)
        sent = tokens_of(self.payload()) if is_estimated or self.lost else 0
        if is_estimated:
            used, said = sent, ceil(self.received / BYTES_A_TOKEN)
        used += self.lost * sent
        cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
        price = self.rates.of(self.model)
        return ModelCall(
            model=self.model,
            input_tokens=used,
            cached_tokens=cached,
            output_tokens=said,
            cost=f"{price.of(used, said, cached=cached):f}" if price else None,
            is_estimated=is_estimated or bool(self.lost),
        )


metered: ContextVar[Metered] = ContextVar("metered")
"""The model call under way, for whoever sends it."""


class Meter:
    """Of one attempt of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.calls: list[ModelCall] = []
        """Those that ended, oldest first."""

    @property
    def cost(self) -> Decimal:
        return sum((Decimal(call["cost"]) for call in self.calls if call["cost"]), Decimal(0))

    @asynccontextmanager
    async def call(self, model: str, payload: Callable[[], Payload]) -> AsyncIterator[Metered]:
        """Around one call of a model. Raises BudgetUsedUp and NoPrice; then it is not made."""
        if (rates := prices.known()) is None:
            rates = await in_database(prices.rates)
        call = Metered(self._run, model, payload, rates)
        if rates.has_budgets:
            until = monotonic() + WAIT
            while not await in_database(call.reserve):
                _give_up_after(until)
                await asyncio.sleep(LOOK_AGAIN)
        metered.set(call)
        try:
            yield call
        finally:
            if (held := call.held) is not None:
                await in_database(budgets.settle, held, self._add(call))
            else:
                self._add(call)

    @contextmanager
    def call_here(self, model: str, payload: Callable[[], Payload]) -> Iterator[Metered]:
        """The same for a call that blocks its thread."""
        rates = prices.known() or in_unit(prices.rates)
        call = Metered(self._run, model, payload, rates)
        if rates.has_budgets:
            until = monotonic() + WAIT
            while not in_unit(call.reserve):
                _give_up_after(until)
                sleep(LOOK_AGAIN)
        try:
            yield call
        finally:
            cost, held = self._add(call), call.held
            if held is not None:
                in_unit(lambda: budgets.settle(held, cost))

    def _add(self, call: Metered) -> Decimal:
        counted = call.counted()
        if counted["input_tokens"] or counted["output_tokens"]:
            self.calls.append(counted)
        return Decimal(counted["cost"] or 0)


def _give_up_after(until: float) -> None:
    if monotonic() > until:
        raise BudgetUsedUp(
            _("What is left of a budget is held by other turns under way. Try again in a moment.")
        )


def tokens_of(payload: Payload) -> int:
    """No fewer than a model would count: what a token is, is each model's own business."""
    return ceil(
        len(json.dumps(payload, ensure_ascii=False, default=str).encode("utf-8", "replace")) / BYTES_A_TOKEN
    )
