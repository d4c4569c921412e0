"""Every address of the product, read off the URL conf: one that is added is attacked without a line here."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.contrib.admindocs.views import simplify_regex
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

NOBODYS = "00000000-0000-4000-8000-000000000000"
NAME = re.compile(r"<(?:\w+:)?(\w+)>")
NUMBERED = ("_index", "key_id", "view_id", "rule_id", "change_id", "user_id", "version_id")

# Where everybody may knock: pages to sign in, health without details, a choice of language and colours,
# and what browsers have to report.
PUBLIC = {
    "/health",
    "/health/ready",
    "/health/live",
    "/accounts/login/",
    "/admin/login/",
    "/admin/logout/",
    "/csp-report",
    "/theme/",
    "/i18n/setlang/",
    "/api/langgraph/ok",
    "/api/v1/auth/token",
    "/api/v1/auth/refresh",
    "/api/v1/auth/revoke",
}
# Of anybody who is staff: the way in, the way out, and one's own password.
OF_STAFF = {
    "/admin/",
    "/admin/logout/",
    "/admin/password_change/",
    "/admin/password_change/done/",
    "/admin/jsi18n/",
}


def paths() -> list[str]:
    """All of them, with <names> for what is looked up."""
    return sorted(set(_below(get_resolver().url_patterns, "/")))


def _below(patterns: Iterable[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    for each in patterns:
        given = each.pattern
        text = str(given) if isinstance(given, RoutePattern) else simplify_regex(str(given)).lstrip("/")
        if isinstance(each, URLResolver):
            yield from _below(each.url_patterns, prefix + text)
        else:
            yield prefix + text


def filled(path: str, ids: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        return str(ids.get(name, 1 if name.endswith(NUMBERED) else NOBODYS))

    return NAME.sub(value, path)


def got_in(
    client: Client,
    among: Iterable[str],
    *,
    ids: Mapping[str, Any] | None = None,
    except_for: Collection[str] = (),
    body: str = "{}",
    **headers: str,
) -> list[str]:
    """Those that answered with more than a refusal: something, an error of ours, a redirect to elsewhere."""
    found = []
    client.raise_request_exception = False
    with _unlogged():
        for path in among:
            for method in ("GET", "POST"):
                if path in except_for:
                    continue
                answer = client.generic(
                    method, filled(path, ids or {}), body, "application/json", headers=headers
                )
                if not _is_refusal(answer):
                    found.append(f"{method} {path}")
    return found


@contextmanager
def _unlogged() -> Iterator[None]:
    """A line for each refusal takes longer than the refusal."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _is_refusal(answer: Any) -> bool:
    if answer.status_code == 302:
        return "/login/" in answer["Location"] or answer["Location"] == "/admin/"  # "there is no such row"
    return answer.status_code in (401, 403, 404, 405)
