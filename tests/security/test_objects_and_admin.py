"""Attacks 31 to 46: other people's things, and the admin."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from accounts import tokens
from accounts.models import ApiKey, TokenFamily, User
from accounts.scopes import Scope
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from runtime.models import AuditEvent

from apps.approvals.models import ApprovalRequest
from tests.accounts.test_admin import PEOPLE, erin, powers  # noqa: F401  (a fixture)
from tests.approvals.conftest import QUEUE
from tests.approvals.test_bulk import chosen, statuses
from tests.approvals.test_matrix import LangGraphProgram
from tests.security import routes
from tests.security.registry import attack
from tests.security.without import patched, setting
from tests.support.programs import Program, key_of

pytestmark = pytest.mark.django_db

API = [path for path in routes.paths() if path.startswith("/api/") and path not in routes.PUBLIC]
ADMIN = [path for path in routes.paths() if path.startswith("/admin/")]
OWNED = [
    path for path in routes.paths() if any(name in path for name in ("thread_id", "session_id", "task_id"))
]


SAY = '{"assistant_id": "shop", "input": {"messages": [{"role": "user", "content": "hi"}]}}'
REDIRECTS = ("/<path:object_id>/", "/<url>", "/django_rq/dashboard/")  # to what is looked at by itself
REASON = [(None, {"fields": ["reason"]})]


def nothing(*args: Any, **kwargs: Any) -> None:
    """A check that never objects."""


ANYBODY = "django.contrib.auth.models.AnonymousUser"


@attack(
    31,
    "somebody who is not signed in asks for each address of the product",
    "401, or the sign-in",
    control="each view asks who is there",
    without=[
        patched(f"{ANYBODY}.is_authenticated", True),
        patched(f"{ANYBODY}.is_active", True),
        patched(f"{ANYBODY}.is_staff", True),
        patched(f"{ANYBODY}.has_perm", lambda *given: True),
        patched(f"{ANYBODY}.has_module_perms", lambda *given: True),
    ],
    held=[],
    fallen=lambda found: (
        len(found) > 100 and {"GET /threads/list/", f"GET {QUEUE}", "GET /metrics"} <= set(found)
    ),
)
def test_31_a_stranger_at_each_address(db):
    assert len(routes.paths()) > 180
    return routes.got_in(Client(), routes.paths(), except_for=routes.PUBLIC)


@attack(
    31,
    "somebody asks for another person's threads, runs and tasks by their ids: API and pages",
    "404, as for what is not there",
    control="everything is looked up among one's own",
    without=patched("runtime.models.threads.ThreadQuerySet.of", lambda rows, owner: rows),
    held={404},
    fallen=lambda codes: 200 in codes,
)
def test_31_another_persons_things(thread, worker, carol, signed_in):
    run = worker.ask()
    ids = {"thread_id": thread.pk, "session_id": thread.pk, "run_id": run.pk, "task_id": run.pk}
    assert len(OWNED) > 20
    page, program = signed_in(carol), Client(raise_request_exception=False)
    found = set()
    for path in OWNED:
        is_api = path.startswith("/api/")
        headers = {"x-api-key": key_of(carol)} if is_api else {}
        body = '{"type": "approve"}' if path.endswith("/resume") else SAY
        for method in ("GET", "POST"):
            answer = (program if is_api else page).generic(
                method, routes.filled(path, ids), body, "application/json", headers=headers
            )
            if answer.status_code != 405:  # a method that the address does not have
                found.add(answer.status_code)
    return found


@attack(
    32,
    "a program's configuration names another thread, run or checkpoint than the address does",
    "left out",
    control="where a graph runs is ours to say",
    without=patched("apps.chat.langgraph.inputs.WHERE", set()),
    held=["tone"],
    fallen=["checkpoint_map", "run_id", "thread_id", "tone"],
)
def test_32_fields_that_are_not_the_senders_to_set(alice, thread):
    mine = {"thread_id": str(uuid4()), "run_id": str(uuid4()), "checkpoint_map": {"": "x"}, "tone": "dry"}
    body = {
        "assistant_id": "shop",
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "config": {"configurable": mine},
        "user_id": 1,
        "status": "success",
        "is_approved": True,
    }
    LangGraphProgram(key_of(alice)).post(f"/threads/{thread.pk}/runs", body)
    run = thread.runs.get()
    assert (run.user, run.status) == (alice, "pending")
    return sorted(run.config["configurable"])


@attack(
    34,
    "a list of the admin is filtered by what it does not show (`?user__password__startswith=`)",
    "400",
    control="the admin filters by what its lists name",
    without=patched(
        "django.contrib.admin.ModelAdmin.lookup_allowed", lambda admin, lookup, value, request: True
    ),
    held={400},
    fallen={200},
)
def test_34_a_filter_by_hidden_columns(admin, signed_in):
    guesses = [
        "/admin/runtime/toolcall/?user__password__startswith=md5",
        "/admin/runtime/run/?user__password__startswith=md5",
        f"{QUEUE}?tool_call__user__password__startswith=md5",
    ]
    return {signed_in(admin).get(guess).status_code for guess in guesses}


@attack(
    37,
    "staff without any permission opens each address of the admin: lists, history, autocomplete, export",
    "403 or 404",
    control="each page of the admin asks for its permission",
    without=patched("accounts.models.User.has_perm", lambda *given, **also: True),
    held=[],
    fallen=lambda found: {f"GET {QUEUE}", "GET /admin/runtime/toolcall/export/csv/"} <= set(found),
)
def test_37_staff_without_permissions(person, alice, bob, waiting, signed_in):
    ids = {"object_id": waiting(alice).pk}
    client = signed_in(person("uma", staff=True))
    leads_nowhere = {path for path in ADMIN if path.endswith(REDIRECTS)}
    return routes.got_in(client, ADMIN, ids=ids, except_for=routes.PUBLIC | routes.OF_STAFF | leads_nowhere)


@attack(
    38,
    "an auditor posts the name of an action that their list does not offer",
    "nothing is done",
    control="actions name their permission, and the service asks again",
    without=[
        patched("apps.approvals.admin.ApprovalRequestAdmin.has_decide_permission", lambda *given: True),
        patched("apps.approvals.permissions.standing", lambda pk, request: (True, True, True)),
    ],
    held=["pending"],
    fallen=["approved"],
)
def test_38_an_action_that_is_not_offered(alice, dave, waiting, signed_in):
    request = waiting(alice)
    signed_in(dave).post(QUEUE, chosen("approve", [request]))
    return statuses([request])


@attack(
    39,
    "an approver approves twenty at once, one of them their own",
    "19 are approved",
    control="each is decided by itself, by the service",
    without=patched("apps.approvals.permissions.confirms_alone", lambda request: True),
    held={"approved": 19, "pending": 1},
    fallen={"approved": 20},
    known_as="ASVS 2.3.5",
)
def test_39_ones_own_among_twenty(alice, bob, waiting, signed_in):
    requests = [*(waiting(alice) for _ in range(19)), waiting(bob)]
    signed_in(bob).post(QUEUE, chosen("approve", requests))
    return dict(Counter(statuses(requests)))


@attack(
    40,
    "a superuser posts `state=approved` to the page of a tool call",
    "403, unchanged",
    control="nobody has the permission to change it",
    without=[
        patched("apps.observability.read_only.ReadOnlyAdmin.has_change_permission", lambda *given: True),
        patched("apps.observability.admin.ToolCallAdmin.get_fieldsets", lambda *given: REASON),
    ],
    held=(403, ""),
    fallen=(302, "approved by me"),
)
def test_40_a_call_is_written_in_the_admin(alice, bob, admin, waiting, signed_in):
    call = waiting(alice).tool_call
    fields = {"state": "approved", "reason": "approved by me"}
    answer = signed_in(admin).post(f"/admin/runtime/toolcall/{call.pk}/change/", fields)
    call.refresh_from_db()
    return answer.status_code, call.reason


@attack(
    41,
    "a superuser deletes a request",
    "403, and it is there",
    control="nobody has the permission to delete it",
    without=[
        patched("apps.approvals.admin.ApprovalRequestAdmin.has_delete_permission", lambda *given: True),
        patched("django.contrib.admin.ModelAdmin.get_deleted_objects", lambda *given: ([], {}, set(), [])),
    ],
    held=(403, 1),
    fallen=(302, 0),
)
def test_41_a_superuser_deletes_requests(alice, bob, admin, waiting, signed_in):
    answer = signed_in(admin).post(f"{QUEUE}{waiting(alice).pk}/delete/", {"post": "yes"})
    return answer.status_code, ApprovalRequest.objects.count()


@attack(
    41,
    "a superuser deletes tool calls, runs, threads and lines of the audit",
    "403",
    control="the record is read-only",
    without=patched("apps.observability.read_only.ReadOnlyAdmin.has_delete_permission", lambda *given: True),
    held={403},
    fallen={200},  # the page that asks whether it is meant
)
def test_41_a_superuser_deletes_the_record(alice, bob, admin, waiting, signed_in):
    call = waiting(alice).tool_call
    rows = {
        "toolcall": call,
        "run": call.run,
        "thread": call.thread,
        "auditevent": AuditEvent.objects.first(),
    }
    client = signed_in(admin)
    return {client.get(f"/admin/runtime/{name}/{row.pk}/delete/").status_code for name, row in rows.items()}


@attack(
    42,
    "staff who may edit people make themselves superuser, with every role",
    "nothing of it is taken",
    control="powers are given by superusers only",
    without=patched("accounts.admin.UserAdmin.get_readonly_fields", lambda *given: ()),
    held=(False, 0),
    fallen=lambda got: got[0] and got[1] > 0,
    known_as="ASI03",
)
def test_42_staff_give_themselves_powers(erin, signed_in):  # noqa: F811
    signed_in(erin).post(f"{PEOPLE}{erin.pk}/change/", {**powers(), "username": "erin"})
    me = User.objects.get(pk=erin.pk)
    return me.is_superuser, Group.objects.filter(user=me).count()


def ended(text: str, **fields: Any) -> str:
    prefix = text.split("_")[1]
    ApiKey.objects.filter(prefix=prefix).update(**fields)
    return text


def by_key(text: str) -> list[str]:
    return routes.got_in(Client(), API, **{"x-api-key": text})


def by_token(text: str) -> list[str]:
    return routes.got_in(Client(), API, Authorization=f"Bearer {text}")


def some(*addresses: str) -> Any:
    """Judges that at least these were entered."""
    return lambda found: set(addresses) <= set(found)


@attack(
    44,
    "a key that was revoked, and one that has expired, at each address of the API",
    "401",
    control="a key's end is looked up with each request",
    without=patched("accounts.models.ApiKey.has_ended", False),
    held=[],
    fallen=some("POST /api/v1/tasks", "GET /api/v1/auth/me", "GET /api/langgraph/info"),
)
def test_44_keys_that_have_ended(alice, assistant):
    now = timezone.now()
    revoked = ended(key_of(alice), revoked_at=now)
    expired = ended(key_of(alice), expires_at=now - timedelta(seconds=1))
    return [*by_key(revoked), *by_key(expired)]


@attack(
    44,
    "a key that nobody made",
    "401",
    control="the secret is held against its SHA-256",
    without=patched("accounts.keys.compare_digest", lambda *given: True),
    held=[],
    fallen=some("POST /api/v1/tasks", "GET /api/langgraph/info"),
)
def test_44_a_key_with_another_secret(alice, assistant):
    prefix = key_of(alice).split("_")[1]
    return by_key(f"cs_{prefix}_{'a' * 40}")


@attack(
    44,
    "a key for the audit, of somebody who may chat, at each address that is for chatting",
    "403",
    control="a key gives its scopes and nothing else",
    without=patched("accounts.callers.Caller.require", nothing),
    held=[],
    fallen=some("POST /api/v1/tasks", "GET /api/langgraph/info"),
)
def test_44_a_key_for_something_else(alice, assistant):
    key = key_of(alice, Scope.AUDIT)
    own = {"/api/v1/auth/me", "/api/v1/openapi.json", "/api/v1/docs", "/api/v1/"}
    return routes.got_in(Client(), API, except_for=own, **{"x-api-key": key})


def read_unsigned(text: str, *args: Any, **kwargs: Any) -> Any:
    return decode(text, options={"verify_signature": False})


decode = jwt.decode


@attack(
    44,
    "a token signed by somebody else, one that says `alg: none`, one that has expired, and a refresh token",
    "401",
    control="tokens are read with our key, our algorithm, their audience and their end",
    without=patched("accounts.tokens.jwt.decode", read_unsigned),
    held=[[], [], [], []],
    fallen=lambda found: all(map(some("GET /api/v1/auth/me", "GET /api/langgraph/info"), found)),
    known_as="9.1.2, 9.2.1",
)
def test_44_forged_and_expired_tokens(alice, assistant, settings):
    settings.ACCESS_TOKEN_SECONDS = 900
    given = tokens.issue(alice)
    claims = decode(given.access, options={"verify_signature": False})
    old = {**claims, "exp": timezone.now() - timedelta(seconds=1)}
    forged = [
        jwt.encode(claims, "a key that is not ours, and long enough", algorithm="HS256"),
        jwt.encode(claims, None, algorithm="none"),
        jwt.encode(old, tokens._key(), algorithm="HS256"),
        given.refresh,
    ]
    return [by_token(text) for text in forged]


@attack(
    44,
    "a token whose sign-in was ended",
    "401",
    control="the sign-in's row is read with each request",
    without=patched("accounts.tokens._living", lambda claims: TokenFamily.objects.get(pk=claims["fam"])),
    held=[],
    fallen=some("GET /api/v1/auth/me", "GET /api/langgraph/info"),
)
def test_44_a_token_of_an_ended_sign_in(alice, assistant):
    given = tokens.issue(alice)
    tokens.revoke(given.refresh)
    return by_token(given.access)


@attack(
    45,
    "ids are guessed by the hundred",
    "404 each, and 429 from the limit on",
    control="a limit of requests for each person",
    without=setting(API_USER_RATE="", API_KEY_RATE=""),
    held={404: 50, 429: 100},
    fallen={404: 150},
)
def test_45_guessed_ids(alice, settings):
    settings.API_USER_RATE = settings.API_USER_RATE and "50 per minute"
    program = Program(key_of(alice))
    return dict(Counter(program.get(f"/tasks/{uuid4()}").status_code for _ in range(150)))


@attack(
    46,
    "an approver, who is staff, opens the dashboard of the queues and empties one",
    "403",
    control="the dashboard asks for a permission of ours: on its own it lets any staff in",
    without=patched("apps.observability.access.may_use_queues", lambda request: True),
    held=(403, 403),
    fallen=(200, 302),
)
def test_46_the_dashboard_of_the_queues(bob, signed_in):
    client = signed_in(bob)
    return (
        client.get("/admin/queues/").status_code,
        client.post("/admin/queues/queues/0/empty/", {"post": "yes"}).status_code,
    )


@attack(
    46,
    "a stranger reads the metrics, with no token, an empty one, and a guess",
    "401",
    control="the scraper's token",
    without=patched("apps.observability.access._has_token", lambda request: True),
    held={401},
    fallen={200},
)
def test_46_the_metrics(client):
    tries = ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer guess"})
    return {client.get("/metrics", headers=headers).status_code for headers in tries}
