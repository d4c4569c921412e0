"""Requests that nobody's browser sends: answered with 4xx, never with a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from config.middleware import say_when_away
from django.db import InterfaceError, OperationalError, connection, transaction
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import reverse
from runtime.models import Thread

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
QUEUE, AUDIT = "/admin/approvals/approvalrequest/", "/admin/runtime/toolcall/"


@pytest.fixture
def strict(alice: User) -> Client:
    """alice's browser, with a CSRF cookie: only then is the form read for its token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    client.get("/accounts/password/")
    return client


@pytest.mark.parametrize("charset", ["utf-7", "rot13", "latin-1"])
def test_a_form_in_another_charset_is_refused(strict: Client, charset: str) -> None:
    response = strict.generic("POST", "/threads/", b"text=abc", f"{FORM}; charset={charset}")

    assert response.status_code == 400


@pytest.mark.django_db(transaction=True)
async def test_it_is_refused_in_the_event_loop_too() -> None:
    client = AsyncClient()
    refused = await client.generic("POST", "/accounts/login/", b"a=b", f"{FORM}; charset=utf-7")

    assert refused.status_code == 400
    assert (await client.get("/health/live")).status_code == 200


def test_utf_8_is_read(client: Client) -> None:
    response: HttpResponse = client.generic("POST", reverse("login"), b"username=x", f"{FORM}; charset=UTF-8")

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("path", "who"),
    [
        (f"{QUEUE}?status=%00", "bob"),
        (f"{QUEUE}?tool=%00", "bob"),
        (f"{QUEUE}?question__exact=%00", "bob"),
        (f"{AUDIT}?state__exact=%00", "dave"),
        (f"{AUDIT}?decision=a%00b", "dave"),
        ("/?q=%00", "alice"),
    ],
)
def test_nul_in_a_query_is_refused(
    request: pytest.FixtureRequest, signed_in: Callable[[User], Client], path: str, who: str
) -> None:
    assert signed_in(request.getfixturevalue(who)).get(path).status_code == 400


def multipart(extra: str) -> tuple[bytes, str]:
    body = f'--b\r\nContent-Disposition: form-data; name="text"{extra}\r\n\r\nhello\r\n--b--\r\n'
    return body.encode(), "multipart/form-data; boundary=b"


def test_a_file_is_refused(strict: Client, client: Client) -> None:
    for each in (strict, client):
        path = reverse("login")
        assert each.generic("POST", path, *multipart('; filename="a.txt"')).status_code == 400


def test_a_form_of_parts_is_read(client: Client) -> None:
    assert client.generic("POST", reverse("login"), *multipart("")).status_code == 200


def test_a_form_that_is_too_large_is_refused(strict: Client) -> None:
    assert strict.post("/threads/", {"text": "a" * 1_200_000}).status_code in (400, 413)


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_a_name_longer_than_any_is_an_error_of_the_field(client: Client, path: str) -> None:
    response = client.post(path, {"username": "a" * 100_000, "password": "x"})

    assert response.status_code == 200
    assert response.context["form"].errors["username"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_with_an_unreadable_filter_is_refused(
    signed_in: Callable[[User], Client], dave: User, kind: str
) -> None:
    assert signed_in(dave).get(f"{AUDIT}export/{kind}/?created_at__gte=x").status_code == 400


@pytest.mark.parametrize(
    ("path", "who", "action"), [(AUDIT, "dave", "export_as_csv"), (QUEUE, "bob", "approve_selected")]
)
def test_a_chosen_row_that_is_none_is_refused(
    request: pytest.FixtureRequest, signed_in: Callable[[User], Client], path: str, who: str, action: str
) -> None:
    response = signed_in(request.getfixturevalue(who)).post(
        path, {"action": action, "_selected_action": "zz"}
    )

    assert response.status_code in (302, 400)


@pytest.mark.parametrize(
    "path",
    [
        "queues/99/",
        "queues/99/details/",
        "queues/99/empty/",
        "queues/0/%00/",
        "queues/0/nope/",
        "queues/0/nope/results/nope/",
        "workers/0/nope/",
        "workers/99/",
        "schedulers/99/",
        "cron-schedulers/99/nope/",
        "cron-schedulers/0/nope/",
    ],
)
def test_a_queue_that_is_not_there_is_not_found(
    signed_in: Callable[[User], Client], operator: User, path: str
) -> None:
    assert signed_in(operator).get(f"/admin/queues/{path}").status_code == 404


@pytest.mark.parametrize("error", [OperationalError("no connection"), InterfaceError("closed")])
def test_a_database_that_is_away_is_503_and_says_when_to_come_back(error: Exception) -> None:
    middleware: Any = say_when_away(lambda request: HttpResponse())

    answer = middleware.process_exception(RequestFactory().get("/"), error)

    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0


def test_a_program_is_told_so_in_json() -> None:
    middleware: Any = say_when_away(lambda request: HttpResponse())

    answer = middleware.process_exception(RequestFactory().get("/api/v1/auth/me"), OperationalError("gone"))

    assert (answer.status_code, answer["Content-Type"], answer["Retry-After"]) == (
        503,
        "application/json",
        "5",
    )


def test_a_database_that_takes_no_writes_is_503(signed_in: Callable[[User], Client], thread: Thread) -> None:
    browser = signed_in(thread.owner)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        answer = browser.post(reverse("chat-send", args=[thread.pk]), {"text": "hello"})
        transaction.set_rollback(True)

    assert answer.status_code == 503


def test_any_other_error_stays_an_error() -> None:
    middleware: Any = say_when_away(lambda request: HttpResponse())

    assert middleware.process_exception(RequestFactory().get("/"), ValueError()) is None
