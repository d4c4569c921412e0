"""What the shop's assistant can do. One decorated function each."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from pydantic import AfterValidator, Field, StringConstraints
from runtime.context import current_call
from runtime.requester import may
from runtime.tools import tool

from assistants.shop.arithmetic import calculate
from assistants.shop.models import Order


def _email(address: str) -> str:
    try:
        validate_email(address)
    except ValidationError as error:
        raise ValueError(f"{address!r} is no e-mail address.") from error
    return address


OrderNumber = Annotated[int, Field(ge=1, le=2_000_000_000, description="The number of the order")]
Amount = Annotated[
    Decimal, Field(gt=0, max_digits=10, decimal_places=2, description="How much, such as 59.90")
]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n]*$")]
EmailAddress = Annotated[str, AfterValidator(_email)]
Text = Annotated[str, StringConstraints(max_length=10_000)]


def _json(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False, default=str)


def _order(number: int) -> Order:
    """One that the requester may see; any other is answered like one that is not there."""
    order = Order.objects.filter(number=number).first()
    if order is None or not may("shop.view_order", order):
        raise ValueError(f"There is no order {number}.")
    return order


@tool(sensitive=False, effect="none")
def look_up_order(order_number: OrderNumber) -> str:
    """Look up an order: customer, status, items, total and what was refunded."""
    order = _order(order_number)
    return _json(
        order_number=order.number,
        customer=order.customer,
        email=order.email,
        status=order.status,
        items=order.items,
        total=order.total,
        refunded=order.refunded,
        currency=order.currency,
    )


def refund_preview(order_number: int, amount: Decimal, reason: str = "") -> str:
    """What is left of the order after the refund, as the order stands."""
    order = _order(order_number)
    left = order.total - order.refunded
    lines = [
        f"Order {order.number} of {order.customer}: total {order.total} {order.currency}, "
        f"refunded so far {order.refunded} {order.currency}.",
        f"After a refund of {amount} {order.currency}: {left - amount} {order.currency} left.",
    ]
    if amount > left:
        lines[1] = (
            f"A refund of {amount} {order.currency} would be refused: only {left} {order.currency} is left."
        )
    return "\n".join(lines)


@tool(sensitive=True, effect="idempotent", preview=refund_preview)
def refund_order(order_number: OrderNumber, amount: Amount, reason: Text = "") -> str:
    """Pay money of an order back to its customer."""
    order = _order(order_number)
    refund = order.refund(amount, reason=reason, key=str(current_call.get().pk))
    return _json(
        order_number=order.number, refunded=refund.amount, currency=order.currency, refund_id=refund.pk
    )


@tool(sensitive=True, effect="once")
def send_email(to: EmailAddress, subject: Line, body: Text) -> str:
    """Send an e-mail."""
    send_mail(subject, body, None, [to])
    return f"Sent to {to}."


@tool(sensitive=False, effect="none")
def calculator(expression: str) -> str:
    """Work out an arithmetic expression such as (12 * 7) + 3."""
    return f"{calculate(expression).normalize():f}"


@tool(sensitive=False, effect="none")
def current_time(time_zone: str = "UTC") -> str:
    """The time now in a time zone such as Europe/Berlin."""
    try:
        now = datetime.now(ZoneInfo(time_zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{time_zone!r} is no time zone. Use a name such as Europe/Berlin.") from error
    return now.strftime("%A, %d %B %Y, %H:%M %Z")


TOOLS = [look_up_order, refund_order, send_email, calculator, current_time]
