"""`/api/v1` describes itself, to those who may know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from accounts import keys
from accounts.models import User
from accounts.scopes import Scope
from config import api as api_module
from django.contrib.staticfiles import finders
from django.http import HttpRequest
from django.test import Client, RequestFactory
from ninja import Schema
from runtime.exceptions import RuntimeRefusal

pytestmark = pytest.mark.django_db

OPENAPI, DOCS = "/api/v1/openapi.json", "/api/v1/docs"
PUBLIC = {"/api/v1/auth/token", "/api/v1/auth/refresh", "/api/v1/auth/revoke"}


def described(client: Client, user: User) -> Any:
    text = keys.create_key(user, "test", [Scope.CHAT], timedelta(days=1))[1]
    return client.get(OPENAPI, headers={"x-api-key": text})


def test_a_stranger_gets_neither(client: Client) -> None:
    assert client.get(OPENAPI).status_code == 401
    docs = client.get(DOCS)
    assert (docs.status_code, docs["Location"]) == (302, f"/accounts/login/?next={DOCS}")


def test_it_is_openapi_3_1_and_says_how_to_come_in(client: Client, alice: User) -> None:
    found = described(client, alice).json()

    assert found["openapi"].startswith("3.1")
    assert set(found["paths"]) >= PUBLIC | {"/api/v1/auth/me"}
    assert found["components"]["securitySchemes"]["CallerAuth"]["scheme"] == "bearer"
    assert found["paths"]["/api/v1/auth/me"]["get"]["security"] == [{"CallerAuth": []}]


def test_every_operation_says_how_it_refuses(client: Client, alice: User) -> None:
    paths = described(client, alice).json()["paths"]
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

    for path, operations in paths.items():
        for method, operation in operations.items():
            told = {
                status for status, each in operation["responses"].items() if each.get("content") == problem
            }
            reads_a_body = "requestBody" in operation
            expected = {"400", "401", "403", "429", "503"} | ({"413", "422"} if reads_a_body else set())
            assert told >= expected, (method, path)


def test_no_two_shapes_share_a_name() -> None:
    """Of two with one name the document keeps one, for both."""

    def below(kind: type[Schema]) -> set[type[Schema]]:
        return {found for each in kind.__subclasses__() for found in (each, *below(each))}

    names = Counter(each.__name__ for each in below(Schema))
    del names["NinjaResponseSchema"]  # what ninja wraps each operation's answer in
    twice = [name for name, count in names.items() if count > 1]
    assert twice == []


def test_the_page_loads_nothing_from_elsewhere_and_no_script_in_it(
    signed_in: Callable[[User], Client], alice: User
) -> None:
    page = signed_in(alice).get(DOCS)
    html = page.content.decode()

    assert page.status_code == 200
    linked = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert linked
    for url in linked:
        assert url.startswith("/static/ninja/"), url
        assert finders.find(url.removeprefix("/static/"))
    inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", html)
    assert inline == [' type="application/json" id="swagger-settings"']
    assert "'unsafe-inline'" not in page["Content-Security-Policy"]


def test_what_the_runtime_refuses_keeps_its_status_and_says_when() -> None:
    class Busy(RuntimeRefusal):
        status, retry_after = 503, 7

    request: HttpRequest = RequestFactory().get("/")
    answer = api_module.answer_runtime_refusal(request, Busy("later"))

    assert (answer.status_code, answer["Retry-After"], answer.content) == (503, "7", b'{"detail": "later"}')


def test_static_files_can_be_collected(settings: Any, tmp_path: Path) -> None:
    from django.core.management import call_command

    settings.STATIC_ROOT = str(tmp_path)
    backend = "whitenoise.storage.CompressedManifestStaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}

    call_command("collectstatic", interactive=False, verbosity=0)

    assert list(tmp_path.glob("ninja/swagger-ui-bundle.*.js"))


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/tasks/x", "/api/x"])
def test_programs_read_of_an_address_that_is_none_in_json(client: Client, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert answer.json()["detail"]
    assert client.get("/nothing")["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(("path", "kind"), [("/api/v1/openapi.json", "application/json"), ("/", "text/html")])
def test_a_fault_of_ours_is_told_in_the_asker_s_form(
    monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    def fails(*args: object) -> None:
        raise ZeroDivisionError("with a secret")

    monkeypatch.setattr("config.rate_limits.is_api", fails)
    answer = Client(raise_request_exception=False).get(path)

    assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (500, kind)
    assert b"secret" not in answer.content
