"""How often the API may be called, and what else may come from one address: wrong passwords, reports. Counted in Redis.

Windows slide, so that nobody doubles a limit around the turn of a minute. While Redis is away nothing is counted and
everybody is let through: a limit is no lock, what locks an account is in PostgreSQL.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, TypeVar

from accounts.callers import Caller, caller_of, let_go_of_connections
from accounts.exceptions import Refusal
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError
from runtime.database import AWAY
from runtime.redis_client import redis_client

logger = logging.getLogger(__name__)

T = TypeVar("T")

API = "/api/"
# Names of the views that look at passwords and codes.
SIGN_IN = {
    "login",
    "login-code",
    "admin:login",
    "api-1:sign_in",
    "factor-set-up",
    "factor-renew",
    "factor-remove",
}
REPORTS = "csp-report"
REPORT_RATES = ("60 per minute", "1000 per minute")  # from one address, and from all of them
SAID_EVERY = 60.0  # seconds between two lines that say that nothing is counted

_said_at = -math.inf


@dataclass(frozen=True)
class Window:
    """How a limit stands after this request."""

    limit: int
    remaining: int
    resets_in: int
    """Seconds until there is more again."""
    is_over: bool

    def headers(self) -> dict[str, str]:
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.resets_in),
        }
        return {**told, "Retry-After": str(max(1, self.resets_in))} if self.is_over else told


def rate_limits(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Of the API's requests per address, person and key; of sign-ins, the wrong ones per address."""

    def answer(request: HttpRequest) -> HttpResponse:
        window = _counted(request) if is_api(request) else None
        response = too_many(request, window) if window and window.is_over else get_response(request)
        if response.streaming:
            let_go_of_connections()  # or each open stream would keep one of the pool from all others
        return with_headers(response, window.headers()) if window else response

    def process_view(request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        match = request.resolver_match
        if match is not None and match.view_name == REPORTS and _is_flood(request):
            return HttpResponse(status=429)
        if request.method != "POST" or match is None or match.view_name not in SIGN_IN:
            return None
        window = _wrong_passwords(request)
        return too_many(request, window) if window and window.is_over else None

    answer.process_view = process_view  # type: ignore[attr-defined]
    return answer


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith(API)


def too_many(request: HttpRequest, window: Window) -> HttpResponse:
    """429, in the form the asker reads."""
    if is_api(request):
        text = _("Too many requests. Try again in %(seconds)s seconds.") % {"seconds": window.resets_in}
        return JsonResponse({"detail": text}, status=429, headers=window.headers())
    context = {"minutes": math.ceil(window.resets_in / 60)}
    return with_headers(render(request, "registration/too_many.html", context, status=429), window.headers())


def with_headers(response: HttpResponse, headers: dict[str, str]) -> HttpResponse:
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    return response


@receiver(user_login_failed)
def count_wrong_password(request: HttpRequest | None = None, **_: Any) -> None:
    if request is not None and settings.SIGN_IN_RATE:
        _in_redis(_hit, parse(settings.SIGN_IN_RATE), "sign-in", address_of(request))


def address_of(request: HttpRequest) -> str:
    """Whose limit it is: of IPv6 the network, as one customer is given at least 2^64 addresses."""
    text = request.META.get("REMOTE_ADDR") or ""
    try:
        address = ip_address(text)
    except ValueError:
        return text  # a Unix socket has none
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else text


# Counting


def _counted(request: HttpRequest) -> Window | None:
    """The tightest of the limits, this request counted; the first that is over. None while none is counted."""
    tightest: Window | None = None
    for rate, *identifiers in _limits_of(request):
        window = _in_redis(_hit, parse(rate), *identifiers)
        if window is None or window.is_over:
            return window
        if tightest is None or window.remaining < tightest.remaining:
            tightest = window
    return tightest


def _limits_of(request: HttpRequest) -> Iterator[tuple[str, ...]]:
    """The address first: who floods is turned away before PostgreSQL is asked who they are."""
    if settings.API_ADDRESS_RATE:
        yield settings.API_ADDRESS_RATE, "address", address_of(request)
    caller = _known(request)
    if caller is None:
        return
    if settings.API_USER_RATE:
        yield settings.API_USER_RATE, "user", str(caller.user.pk)
    if settings.API_KEY_RATE and caller.key_id is not None:
        yield settings.API_KEY_RATE, "key", str(caller.key_id)


def _known(request: HttpRequest) -> Caller | None:
    """A refusal, and a database that is away, are the view's to answer."""
    try:
        return caller_of(request)
    except (Refusal, *AWAY):
        return None


def _wrong_passwords(request: HttpRequest) -> Window | None:
    """Those of this address so far. Of tries at the same instant a few more pass than the limit says."""
    if not settings.SIGN_IN_RATE:
        return None
    return _in_redis(_window, parse(settings.SIGN_IN_RATE), "sign-in", address_of(request))


def _is_flood(request: HttpRequest) -> bool:
    """Whether nobody will read so many reports of browsers any more."""
    each, all_ = (parse(rate) for rate in REPORT_RATES)
    windows = [_in_redis(_hit, each, REPORTS, address_of(request)), _in_redis(_hit, all_, REPORTS)]
    return any(window is not None and window.is_over for window in windows)


def _hit(rate: RateLimitItem, *identifiers: str) -> Window:
    is_within = _limiter().hit(rate, *identifiers)
    return _window(rate, *identifiers, is_over=not is_within)


def _window(rate: RateLimitItem, *identifiers: str, is_over: bool | None = None) -> Window:
    stats = _limiter().get_window_stats(rate, *identifiers)
    resets_in = max(0, math.ceil(stats.reset_time - time.time()))
    return Window(
        rate.amount, stats.remaining, resets_in, stats.remaining < 1 if is_over is None else is_over
    )


@cache
def _limiter() -> SlidingWindowCounterRateLimiter:
    storage = RedisStorage("redis://", connection_pool=redis_client().connection_pool, key_prefix="limits")
    return SlidingWindowCounterRateLimiter(storage)


def _in_redis(count: Callable[..., T], *args: Any) -> T | None:
    """None while Redis is away; the log says so once a minute."""
    global _said_at
    try:
        return count(*args)
    except (RedisError, OSError) as error:
        if time.monotonic() - _said_at > SAID_EVERY:
            _said_at = time.monotonic()
            logger.warning("nothing is counted", exc_info=error, extra={"action": "rate_limits_away"})
        return None
