"""What model calls cost, and whether any budget is in force: looked up once a second, however many calls ask."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db import connection

KEEP = 1.0  # seconds for which a process goes by what it read
MILLION = 1_000_000

LOOK = """
SELECT EXISTS (SELECT 1 FROM runtime_budget WHERE is_active),
       ARRAY(SELECT ARRAY[model, input::text, cached_input::text, output::text] FROM runtime_modelprice)
"""


@dataclass(frozen=True)
class Price:
    """Of a million tokens each."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    def of(self, input: int, output: int, *, cached: int = 0) -> Decimal:
        """`cached` of the `input` tokens cost less."""
        cached = min(cached, input)
        whole = (input - cached) * self.input + cached * self.cached_input + output * self.output
        return whole / MILLION


@dataclass(frozen=True)
class Rates:
    """What is in force."""

    has_budgets: bool
    prices: Mapping[str, Price]

    def of(self, model: str) -> Price | None:
        """None: nobody said what it costs."""
        if price := self.prices.get(model):
            return price
        given = settings.MODEL_PRICES.get(model)
        return Price(*given) if given else None


_read: tuple[float, Rates] | None = None


def known() -> Rates | None:
    """What was read less than a second ago."""
    if _read is None or time.monotonic() - _read[0] > KEEP:
        return None
    return _read[1]


def rates() -> Rates:
    """What is in force; of the last second, where that is known."""
    return known() or _look()


def forget() -> None:
    """This process looks anew: it has changed something itself."""
    global _read
    _read = None


def _look() -> Rates:
    global _read
    with connection.cursor() as cursor:
        cursor.execute(LOOK)
        has_budgets, rows = cursor.fetchone()
    found = Rates(has_budgets, {model: Price(*map(Decimal, prices)) for model, *prices in rows})
    _read = (time.monotonic(), found)
    return found
