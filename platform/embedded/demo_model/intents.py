"""What a person can want. Each intent says its next step: a tool call, or the words that end it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from embedded.demo_model.phrases import Phrases
from embedded.demo_model.reply import Call
from embedded.demo_model.schemas import JSONObject
from embedded.demo_model.turn import Result, Turn

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Step:
    """Words, and the call that they announce."""

    text: str
    call: Call | None = None


class Intent(Protocol):
    def next_step(self, turn: Turn, say: Phrases) -> Step:
        """The step after those whose results are in `turn`; takes the results that belong to it."""


@dataclass(frozen=True)
class Tell:
    """Words only: `phrase` names a field of Phrases."""

    phrase: str

    def next_step(self, turn: Turn, say: Phrases) -> Step:
        return Step(str(getattr(say, self.phrase)))


@dataclass(frozen=True)
class OneCall:
    """Call a tool once and pass on what it says. `what` and `done` name fields of Phrases."""

    call: Call
    what: str
    done: str
    #: Fills both phrases.
    values: Mapping[str, str]

    def next_step(self, turn: Turn, say: Phrases) -> Step:
        result = turn.take(self.call.tool)
        if result is None:
            return Step("", self.call)
        what = getattr(say, self.what).format_map(self.values)
        done = getattr(say, self.done).format_map({**self.values, "result": result.text.strip()})
        return Step(_refusal(result, what, say) or done)


@dataclass(frozen=True)
class LookUp:
    order_number: int

    def next_step(self, turn: Turn, say: Phrases) -> Step:
        result = turn.take("look_up_order")
        if result is None:
            return Step("", _look_up(self.order_number))
        return Step(_refusal(result, self._what(say), say) or self._told(result, say))

    def _what(self, say: Phrases) -> str:
        return say.what_look_up.format(number=self.order_number)

    def _told(self, result: Result, say: Phrases) -> str:
        if result.fields is None:
            return say.answered.format(what=self._what(say), answer=result.text.strip())
        return say.order.format(number=self.order_number, fields=_as_list(result.fields))


@dataclass(frozen=True)
class Refund:
    """Look the order up, ask for the refund, report what became of it."""

    order_number: int
    #: None: all that was paid and not refunded yet.
    amount: Decimal | None = None
    reason: str = ""

    def next_step(self, turn: Turn, say: Phrases) -> Step:
        if "look_up_order" not in turn.offered:
            return self._without_look_up(turn, say)
        order = turn.take("look_up_order")
        if order is None:
            return Step(self._plan(say), _look_up(self.order_number))
        return self._with_order(order, turn, say)

    def _plan(self, say: Phrases) -> str:
        amount = f"{self.amount:.2f}" if self.amount is not None else say.what_is_left
        return say.refund_plan.format(number=self.order_number, amount=amount, reason=self._reason(say))

    def _without_look_up(self, turn: Turn, say: Phrases) -> Step:
        if self.amount is None:
            return Step(say.refund_needs_amount.format(number=self.order_number))
        return self._refund(self.amount, "", self._plan(say), turn=turn, say=say)

    def _with_order(self, order: Result, turn: Turn, say: Phrases) -> Step:
        what = say.what_look_up.format(number=self.order_number)
        refusal = _refusal(order, what, say)
        if refusal:
            return Step(f"{refusal} {say.refund_given_up}")
        left = _left_to_refund(order.fields or {})
        amount = self.amount if self.amount is not None else left
        if amount is None:
            return Step(f"{say.answered.format(what=what, answer=order.text)} {say.refund_given_up}")
        if amount <= 0 or left == 0:
            return Step(say.refund_nothing_left.format(number=self.order_number))
        return self._refund_order(order.fields or {}, amount, turn, say)

    def _refund_order(self, order: JSONObject, amount: Decimal, turn: Turn, say: Phrases) -> Step:
        currency = str(order.get("currency", ""))
        announcement = say.refund_ask.format(
            number=self.order_number,
            status=order.get("status", "?"),
            total=_money(order.get("total", "?"), currency),
            refunded=_money(order.get("refunded", "0.00"), currency),
            amount=_money(amount, currency),
            reason=self._reason(say),
        )
        return self._refund(amount, currency, announcement, turn=turn, say=say)

    def _refund(self, amount: Decimal, currency: str, announcement: str, *, turn: Turn, say: Phrases) -> Step:
        result = turn.take("refund_order")
        if result is None:
            return Step(announcement, self._call(amount, say))
        what = say.what_refund.format(number=self.order_number, amount=_money(amount, currency))
        return Step(_refusal(result, what, say) or self._told(result, amount, what, say))

    def _call(self, amount: Decimal, say: Phrases) -> Call:
        return Call.of(
            "refund_order", order_number=self.order_number, amount=f"{amount:.2f}", reason=self._reason(say)
        )

    def _told(self, result: Result, amount: Decimal, what: str, say: Phrases) -> str:
        """What became of the refund: `amount` was asked for, the result tells what was paid."""
        fields = result.fields
        if fields is None:
            return say.answered.format(what=what, answer=result.text.strip())
        refunded = _decimal(fields.get("refunded"))
        currency = str(fields.get("currency", ""))
        phrase = say.refund_done if refunded in (amount, None) else say.refund_edited
        return phrase.format(
            number=fields.get("order_number", self.order_number),
            asked=_money(amount, currency),
            refunded=_money(amount if refunded is None else refunded, currency),
            refund_id=fields.get("refund_id", "?"),
        )

    def _reason(self, say: Phrases) -> str:
        return self.reason or say.default_reason


def _look_up(order_number: int) -> Call:
    return Call.of("look_up_order", order_number=order_number)


def _refusal(result: Result, what: str, say: Phrases) -> str:
    """The sentence for a call that was rejected or failed; empty when it was neither."""
    if result.rejection:
        who, reason = result.rejection
        return say.rejected.format(what=what, who=who, reason=reason or say.no_reason)
    if result.is_refusal:
        return say.failed.format(what=what, text=result.text.strip())
    return ""


def _left_to_refund(order: JSONObject) -> Decimal | None:
    """What was paid less what was refunded; None when the order does not tell."""
    total = _decimal(order.get("total"))
    if total is None:
        return None
    return max(total - (_decimal(order.get("refunded")) or Decimal(0)), Decimal(0))


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(str(value))
        return number.quantize(CENT) if number.is_finite() else None
    except InvalidOperation:
        return None


def _money(amount: object, currency: str) -> str:
    written = f"{amount:.2f}" if isinstance(amount, Decimal) else str(amount)
    return f"{written} {currency}".strip()


def _as_list(fields: JSONObject) -> str:
    return "\n".join(f"- **{name}**: {_as_text(value)}" for name, value in fields.items())


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value) or "–"
    if isinstance(value, dict):
        return " ".join(_as_text(item) for item in value.values())
    return str(value)
