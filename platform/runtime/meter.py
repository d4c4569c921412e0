"""What the model calls of a run use: reserved before each, counted and settled after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, partial
from itertools import chain, repeat
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
LOOK_AGAIN = (0.25, 0.5, 1.0)  # seconds; from then on
LOOK_AGAIN_LATER = 2.0

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
    sent: int = 0  # tries, without those that never went out or were refused by a status
    output_limit: int = 0  # tokens of output that were reserved

    @cached_property
    def input_tokens(self) -> int:
        """As estimated."""
        return tokens_of(self.payload())

    def worst(self) -> Decimal:
        """What it costs at most. Raises NoPrice. Sets the limits that make it so. Takes long for a long thread."""
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
        self.input_tokens = tokens_of(payload)
        asked = payload.get("max_completion_tokens") or payload.get("max_output_tokens")
        most = min(asked or settings.MODEL_MAX_OUTPUT, settings.MODEL_MAX_OUTPUT)
        self.limits = {"max_completion_tokens": most}
        self.output_limit = most * (payload.get("n") or 1)
        return price.of(self.input_tokens, self.output_limit)

    def reserve(self, worst: Decimal) -> bool:
        """False when it has to be tried again in a moment."""
        try:
            self.held = budgets.reserve(self.run, worst)
        except budgets.OthersHold:
            return False
        if self.held is None:
            self.limits, self.output_limit = {}, 0
        return True

    def counted(self) -> ModelCall:
        """What the endpoint counted; of tries that it did not, what they may have cost.

        An answer of which nothing had come may have been thought out, or written, all the same.
        """
        usage = self.usage or {}
        used, said = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
        tries = max(self.sent, 1 if self.received or usage else 0)
        uncounted = tries - 1 if usage else tries
        if uncounted:
            used += uncounted * self.input_tokens
            silent = uncounted - 1 if self.received and not usage else uncounted
            said += silent * self.output_limit
        if not usage:
            said += ceil(self.received / BYTES_A_TOKEN)
        cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
        price = self.rates.of(self.model)
        return ModelCall(
            model=self.model,
            input_tokens=used,
            cached_tokens=cached,
            output_tokens=said,
            cost=f"{price.of(used, said, cached=cached):f}" if price else None,
            is_estimated=bool(uncounted),
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
        call = self._begin(model, payload, rates)
        if call.rates.has_budgets:
            # Not in the threads of the database, which heartbeats wait for as well.
            worst = await asyncio.to_thread(call.worst)
            for pause in _pauses():
                if await _reserved(call, worst):
                    break
                await asyncio.sleep(pause)
        try:
            yield call
        finally:
            cost = self._end(call)
            if call.held is not None:
                await in_database(budgets.settle, call.held, cost)

    @contextmanager
    def call_here(self, model: str, payload: Callable[[], Payload]) -> Iterator[Metered]:
        """The same for a call that blocks its thread."""
        call = self._begin(model, payload, prices.known() or in_unit(prices.rates))
        if call.rates.has_budgets:
            worst = call.worst()
            for pause in _pauses():
                if in_unit(partial(call.reserve, worst)):
                    break
                sleep(pause)
        try:
            yield call
        finally:
            cost = self._end(call)
            if call.held is not None:
                in_unit(partial(budgets.settle, call.held, cost))

    def _begin(self, model: str, payload: Callable[[], Payload], rates: Rates) -> Metered:
        call = Metered(self._run, model, payload, rates)
        metered.set(call)
        return call

    def _end(self, call: Metered) -> Decimal:
        """Notes what it did cost."""
        counted = call.counted()
        if counted["input_tokens"] or counted["output_tokens"]:
            self.calls.append(counted)
        return Decimal(counted["cost"] or 0)


async def _reserved(call: Metered, worst: Decimal) -> bool:
    """As `reserve`. Stopped meanwhile, the call is never made: what its thread still reserves is let go."""
    reserving = asyncio.ensure_future(in_database(call.reserve, worst))
    try:
        return await asyncio.shield(reserving)
    except asyncio.CancelledError:
        await asyncio.wait([reserving])
        if call.held is not None:
            await in_database(budgets.settle, call.held, Decimal(0))
        raise


def _pauses() -> Iterator[float]:
    """Seconds to wait after each look, for as long as a call waits. Raises BudgetUsedUp then."""
    until = monotonic() + WAIT
    for pause in chain(LOOK_AGAIN, repeat(LOOK_AGAIN_LATER)):
        yield pause
        if monotonic() > until:
            raise BudgetUsedUp(
                _("What is left of a budget is held by other turns under way. Try again in a moment.")
            )


def tokens_of(payload: Payload) -> int:
    """No fewer than a model would count: what a token is, is each model's own business."""
    return ceil(
        len(json.dumps(payload, ensure_ascii=False, default=str).encode("utf-8", "replace")) / BYTES_A_TOKEN
    )
