"""The one door: by key, token or session, and never past what either allows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from accounts import keys, tokens
from accounts.callers import Caller, CallerAuth, acaller_of, caller_of, caller_required
from accounts.exceptions import BadCredential, Forbidden, OutOfScope, Unauthenticated
from accounts.models import ApiKey, User
from accounts.scopes import EVERY_SCOPE, Scope
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, JsonResponse
from django.test import Client, RequestFactory

pytestmark = pytest.mark.django_db

ME = "/api/v1/auth/me"


@pytest.fixture
def key_for() -> Callable[..., str]:
    def make(owner: User, *scopes: Scope) -> str:
        return keys.create_key(owner, "test", scopes or (Scope.CHAT,), timedelta(days=1))[1]

    return make


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def request_with(method: str = "get", **headers: str) -> HttpRequest:
    request: HttpRequest = getattr(RequestFactory(), method)("/api/x", headers=headers)
    request.user = AnonymousUser()
    return request


def test_a_stranger_is_told_how_to_come_in(client: Client) -> None:
    response = client.get(ME)

    assert response.status_code == 401
    assert "x-api-key" in response.json()["detail"]
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["x-api-key", "Authorization"])
def test_a_key_is_its_owner(client: Client, alice: User, key_for: Callable[..., str], header: str) -> None:
    text = key_for(alice)
    value = text if header == "x-api-key" else f"Bearer {text}"

    answer = client.get(ME, headers={header: value}).json()

    assert (answer["username"], answer["how"], answer["scopes"]) == ("alice", "key", ["chat"])
    assert answer["key_expires_at"]


def test_a_token_is_its_owner(client: Client, bob: User) -> None:
    answer = client.get(ME, headers=bearer(tokens.issue(bob).access)).json()

    assert (answer["username"], answer["how"]) == ("bob", "token")
    assert "approve" in answer["scopes"]


def test_a_session_is_its_user(signed_in: Callable[[User], Client], alice: User) -> None:
    answer = signed_in(alice).get(ME).json()

    assert (answer["username"], answer["how"], answer["scopes"]) == ("alice", "session", ["chat"])


def test_no_header_makes_anybody_somebody_else(
    client: Client, alice: User, carol: User, key_for: Callable[..., str]
) -> None:
    for name in ("X-User", "Remote-User", "X-Remote-User", "X-Forwarded-User"):
        response = client.get(ME, headers={"x-api-key": key_for(alice), name: carol.username})
        assert response.json()["username"] == "alice"


def test_of_two_credentials_the_one_in_authorization_is_meant(
    client: Client, alice: User, key_for: Callable[..., str]
) -> None:
    headers = {"x-api-key": "lsv2_from_the_environment", **bearer(key_for(alice))}

    assert client.get(ME, headers=headers).json()["username"] == "alice"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "nonsense"},
        {"x-api-key": "cs_000000000000_" + "a" * 40},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer a.b.c"},
    ],
)
def test_a_bad_credential_is_refused_though_a_session_is_good(
    signed_in: Callable[[User], Client], alice: User, headers: dict[str, str]
) -> None:
    response = signed_in(alice).get(ME, headers=headers)

    assert response.status_code == 401
    assert 'error="invalid_token"' in response["WWW-Authenticate"]


def test_another_scheme_is_a_proxys_own(signed_in: Callable[[User], Client], alice: User) -> None:
    assert signed_in(alice).get(ME, headers={"Authorization": "Basic YTpi"}).status_code == 200


@pytest.mark.parametrize("query", ["x={key}", "api_key=1", "X-API-Key=1", "access_token=1"])
def test_a_key_in_the_address_is_refused(
    signed_in: Callable[[User], Client], alice: User, key_for: Callable[..., str], query: str
) -> None:
    response = signed_in(alice).get(f"{ME}?{query.format(key=key_for(alice))}")

    assert response.status_code == 401
    assert "address" in response.json()["detail"]


def test_a_key_that_ended_is_refused(client: Client, alice: User, key_for: Callable[..., str]) -> None:
    text = key_for(alice)
    assert client.get(ME, headers={"x-api-key": text}).status_code == 200

    keys.revoke_key(ApiKey.objects.get())

    assert client.get(ME, headers={"x-api-key": text}).status_code == 401


def test_a_key_does_not_do_what_it_was_not_made_for(bob: User, key_for: Callable[..., str]) -> None:
    request = request_with(**{"x-api-key": key_for(bob, Scope.AUDIT)})

    with pytest.raises(OutOfScope) as refusal:
        caller_of(request, Scope.APPROVE)
    assert refusal.value.status == 403
    assert "insufficient_scope" in refusal.value.headers["WWW-Authenticate"]


def test_a_key_gives_nothing_its_owner_has_not(alice: User, key_for: Callable[..., str]) -> None:
    request = request_with(**{"x-api-key": key_for(alice, *Scope)})

    caller = caller_of(request, Scope.CHAT)

    assert caller.scopes == EVERY_SCOPE
    assert not caller.may(Scope.APPROVE)
    with pytest.raises(Forbidden):
        caller.require(Scope.APPROVE)


def test_what_the_owner_loses_the_key_loses(bob: User, key_for: Callable[..., str]) -> None:
    text = key_for(bob, Scope.APPROVE)
    assert caller_of(request_with(**{"x-api-key": text})).may(Scope.APPROVE)

    bob.groups.clear()

    assert not caller_of(request_with(**{"x-api-key": text})).may(Scope.APPROVE)


def test_it_is_one_query_however_often_it_is_asked(
    alice: User, key_for: Callable[..., str], django_assert_num_queries: Callable[[int], Any]
) -> None:
    text = key_for(alice)
    keys.key_of(text)
    request = request_with(**{"x-api-key": text})

    with django_assert_num_queries(1):
        assert caller_of(request) == caller_of(request)


def test_for_a_token_too(alice: User, django_assert_num_queries: Callable[[int], Any]) -> None:
    request = request_with(**bearer(tokens.issue(alice).access))

    with django_assert_num_queries(1):
        assert caller_of(request).user == alice


def test_a_refusal_is_looked_up_once(django_assert_num_queries: Callable[[int], Any]) -> None:
    request = request_with(**{"x-api-key": "cs_000000000000_" + "a" * 40})

    with django_assert_num_queries(1):
        for _ in range(2):
            with pytest.raises(BadCredential):
                caller_of(request)


# CSRF


@caller_required(Scope.CHAT)
def echo(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": request.user.get_username()})


def posted(user: User, **headers: str) -> HttpRequest:
    """A form posted with a session, as the middlewares leave it to the view."""
    request = request_with("post", **headers)
    request.user = user
    return request


def test_a_sessions_post_needs_the_token_of_the_page(alice: User) -> None:
    response = echo(posted(alice))

    assert response.status_code == 403
    assert "X-CSRFToken" in json.loads(response.content)["detail"]


def test_with_it_the_post_goes_through(alice: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    browser.get("/accounts/password/")
    cookie = browser.cookies["csrftoken"].value
    request = posted(alice, **{"X-CSRFToken": cookie})
    request.COOKIES["csrftoken"] = cookie

    assert echo(request).status_code == 200


def test_a_key_needs_none(alice: User, key_for: Callable[..., str]) -> None:
    assert echo(request_with("post", **{"x-api-key": key_for(alice)})).status_code == 200
    assert echo.csrf_exempt  # type: ignore[attr-defined]


def test_a_decorated_view_acts_for_the_owner_of_the_key(alice: User, key_for: Callable[..., str]) -> None:
    response = echo(request_with(**{"x-api-key": key_for(alice)}))

    assert json.loads(response.content) == {"user": "alice"}


def test_a_decorated_view_is_closed_to_others(dave: User, key_for: Callable[..., str]) -> None:
    assert echo(request_with()).status_code == 401
    assert echo(request_with(**{"x-api-key": key_for(dave, Scope.CHAT)})).status_code == 403


# Coroutines


@pytest.mark.django_db(transaction=True)
async def test_coroutines_have_the_same_door(alice: User, key_for: Callable[..., str]) -> None:
    @caller_required(Scope.CHAT)
    async def view(request: HttpRequest) -> JsonResponse:
        caller = await acaller_of(request)
        return JsonResponse({"user": caller.user.username})

    text = await sync_to_async(key_for)(alice)

    assert json.loads((await view(request_with(**{"x-api-key": text}))).content) == {"user": "alice"}
    assert (await view(request_with())).status_code == 401
    with pytest.raises(Unauthenticated):
        await acaller_of(request_with())


def test_ninjas_auth_is_the_caller(bob: User, key_for: Callable[..., str]) -> None:
    auth = CallerAuth(Scope.APPROVE)

    caller = auth(request_with(**{"x-api-key": key_for(bob, Scope.APPROVE)}))

    assert isinstance(caller, Caller)
    assert caller.user == bob
    with pytest.raises(OutOfScope):
        auth(request_with(**{"x-api-key": key_for(bob, Scope.CHAT)}))
