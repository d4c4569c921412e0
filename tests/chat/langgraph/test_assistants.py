"""Assistants that programs make, change, go back with and retire; and what runs are performed with."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypedDict
from uuid import uuid4

import pytest
from accounts.models import User
from accounts.scopes import Scope
from django.apps import apps
from django.core.management import call_command
from django.test import Client
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pytest_django.fixtures import Settings
from runtime import assistants, runs
from runtime.engine import Engine
from runtime.exceptions import AssistantRetired
from runtime.models import Assistant, AssistantVersion, AuditEvent, Run, Thread

from tests.chat.langgraph.conftest import Program
from tests.support.engines import EngineOn

pytestmark = pytest.mark.django_db

ADMIN = "/admin/runtime/assistant"
VERSION = "/admin/runtime/assistantversion"
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"  # of a kind that is masked


class Told(TypedDict, total=False):
    told: dict[str, Any]


def tell(state: Told, config: RunnableConfig, runtime: Runtime[dict[str, Any]]) -> Told:
    """What a node is called with."""
    found = {key: config["configurable"].get(key) for key in ("tone", "length", "api_key")}
    return {"told": {**found, "context": runtime.context, "tags": config.get("tags", [])}}


def build() -> Any:
    graph = StateGraph(Told, context_schema=dict)
    graph.add_node("tell", tell)
    graph.add_edge(START, "tell")
    graph.add_edge("tell", END)
    return graph.compile()


@pytest.fixture(autouse=True)
def teller(settings: Settings) -> None:
    path = f"{__name__}:build"
    settings.COUNTERSIGN_GRAPHS = {**settings.COUNTERSIGN_GRAPHS, "teller": path}


@pytest.fixture
def olgas(operator: User, program: Callable[..., Program]) -> Program:
    """An operator's, who may not chat."""
    return program(operator, Scope.ASSISTANTS)


def made(program: Program, **fields: Any) -> dict[str, Any]:
    answer = program.post("/assistants", {"graph_id": "teller", **fields})
    assert answer.status_code == 200, answer.content
    return answer.json()  # type: ignore[no-any-return]


def changed(program: Program, made: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = program.call("PATCH", f"/assistants/{made['assistant_id']}", fields)
    assert answer.status_code == 200, answer.content
    return answer.json()  # type: ignore[no-any-return]


def test_an_assistant_is_made_changed_and_found(olgas: Program, alices_program: Program) -> None:
    first = made(olgas, name="Short", metadata={"team": "a"}, config={"configurable": {"tone": "dry"}})

    second = changed(olgas, first, name="Long", metadata={"kind": "b"})

    where = f"/assistants/{first['assistant_id']}"
    assert (first["version"], second["version"]) == (1, 2)
    assert second["metadata"] == {"created_by": "user", "team": "a", "kind": "b"}
    assert second["config"] == {"configurable": {"tone": "dry"}}
    for program in (olgas, alices_program):  # who may chat, or change assistants, may read them
        assert program.get(where).json() == second
        assert program.post("/assistants/count", {"metadata": {"team": "a"}}).json() == 1
        listed = program.post(f"{where}/versions").json()
        assert [(each["version"], each["name"]) for each in listed] == [(2, "Long"), (1, "Short")]
        assert program.post(f"{where}/versions", {"metadata": {"kind": "b"}}).json() == listed[:1]
    assert changed(olgas, first, name="Long")["version"] == 2  # nothing new is no new version


def test_going_back_makes_an_old_version_the_one_in_use(olgas: Program) -> None:
    first = made(olgas, name="Short")
    changed(olgas, first, name="Long")

    back = olgas.post(f"/assistants/{first['assistant_id']}/latest", {"version": 1}).json()

    assert (back["version"], back["name"]) == (1, "Short")
    assert changed(olgas, first, name="Third")["version"] == 3
    none = olgas.post(f"/assistants/{first['assistant_id']}/latest", {"version": 9})
    assert none.status_code == 422


def test_one_that_exists_is_refused_or_returned(olgas: Program) -> None:
    first = made(olgas, assistant_id=str(uuid4()), name="First")
    again = {"graph_id": "teller", "assistant_id": first["assistant_id"], "name": "Second"}

    assert olgas.post("/assistants", again).status_code == 409
    assert olgas.post("/assistants", {**again, "if_exists": "do_nothing"}).json() == first


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"graph_id": "os.system"}, 422),
        ({"name": "no graph"}, 422),
        ({"graph_id": "teller", "name": "x" * 101}, 422),
        ({"graph_id": "teller", "context": {"a": 1}, "config": {"configurable": {"b": 1}}}, 400),
        ({"graph_id": "teller", "assistant_id": "shop"}, 422),
    ],
)
def test_what_can_t_be_made_is_refused(olgas: Program, body: dict[str, Any], status: int) -> None:
    assert olgas.post("/assistants", body).status_code == status
    assert not Assistant.objects.filter(graph_id="teller").exists()


def test_only_who_may_change_assistants_does(
    olgas: Program,
    alice: User,
    admin: User,
    operator: User,
    program: Callable[..., Program],
) -> None:
    first = made(olgas)
    where = f"/assistants/{first['assistant_id']}"
    attempts = [
        ("POST", "/assistants", {"graph_id": "teller"}),
        ("PATCH", where, {"name": "mine"}),
        ("POST", f"{where}/latest", {"version": 1}),
        ("DELETE", where, None),
    ]
    strangers = [
        program(alice),  # every scope, and no permission
        program(operator, Scope.CHAT, Scope.AUDIT),  # the permission, and no scope for it
        program(admin, Scope.CHAT),
    ]

    for stranger in strangers:
        for method, path, body in attempts:
            assert stranger.call(method, path, body).status_code == 403, path
    assert olgas.get(where).json() == first
    assert changed(program(admin, Scope.ASSISTANTS), first, name="Admin's")["name"] == "Admin's"


def test_an_assistant_with_threads_is_retired_and_nothing_is_lost(
    olgas: Program, alices_program: Program, alice: User
) -> None:
    first = made(olgas)
    assistant = Assistant.objects.get(pk=first["assistant_id"])
    thread = Thread.objects.create(owner=alice, assistant=assistant)
    run = runs.create_run(thread, user=alice, input={})
    where = f"/assistants/{first['assistant_id']}"

    assert olgas.call("DELETE", f"{where}?delete_threads=true").status_code == 422
    assert olgas.call("DELETE", where).status_code == 204

    assert alices_program.get(where).status_code == 404
    begun = alices_program.post("/runs", {"assistant_id": first["assistant_id"], "input": {}})
    assert (begun.status_code, "Invalid assistant" in begun.json()["detail"]) == (422, True)
    with pytest.raises(AssistantRetired):
        runs.send_message(thread, alice, "hello")
    assert alices_program.get(f"/threads/{thread.pk}/runs/{run.pk}").status_code == 200
    assert olgas.call("DELETE", where).status_code == 404
    again = made(olgas, assistant_id=first["assistant_id"], name="Back")
    assert (again["version"], again["name"]) == (2, "Back")
    assert runs.send_message(thread, alice, "hello").version.number == 2


def test_a_graph_with_threads_stays(olgas: Program, alice: User) -> None:
    first = made(olgas)
    other = changed(olgas, first, graph_id="shop")
    Thread.objects.create(owner=alice, assistant=Assistant.objects.get(pk=first["assistant_id"]))

    answer = olgas.call("PATCH", f"/assistants/{first['assistant_id']}", {"graph_id": "teller"})
    back = olgas.post(f"/assistants/{first['assistant_id']}/latest", {"version": 1})

    assert (other["graph_id"], other["version"]) == ("shop", 2)
    assert (answer.status_code, back.status_code) == (422, 422)


@pytest.mark.django_db(transaction=True)
def test_changes_are_audited_with_who_made_them(olgas: Program, operator: User) -> None:
    first = made(olgas, name="Short")
    changed(olgas, first, name="Long")
    olgas.call("DELETE", f"/assistants/{first['assistant_id']}")

    events = AuditEvent.objects.filter(subject_kind="assistant", subject_id=first["assistant_id"])
    told = [(each.action, each.actor) for each in events.order_by("seq")]
    assert told == [
        ("assistant.created", operator.username),
        ("assistant.changed", operator.username),
        ("assistant.changed", operator.username),
    ]
    change = json.loads(events.order_by("seq")[1].body)
    assert (change["before"]["name"], change["after"]["name"]) == ("Short", "Long")


def test_a_secret_in_the_configuration_is_in_no_row(olgas: Program) -> None:
    first = made(olgas, config={"configurable": {"api_key": SECRET}}, context=None)

    second = changed(olgas, first, config=first["config"], name="With the mark sent back")

    row = AssistantVersion.objects.get(assistant=first["assistant_id"], number=second["version"])
    assert SECRET not in json.dumps([first, second, row.config]) + row.sealed
    bodies = [each.body for each in AuditEvent.objects.all()]
    assert first["assistant_id"] in "".join(bodies)
    assert SECRET not in "".join(bodies)


def test_a_retired_one_is_offered_again_by_the_command() -> None:
    call_command("add_assistant", "teller", verbosity=0)
    row = Assistant.objects.get(graph_id="teller")
    assistants.retire(row.pk)

    call_command("add_assistant", "teller", verbosity=0)

    row.refresh_from_db()
    assert (row.is_active, row.retired_at) == (True, None)


@pytest.mark.django_db(transaction=True)
def test_a_run_is_performed_with_the_version_it_was_begun_with(
    olgas: Program, alice: User, engine_on: EngineOn
) -> None:
    config = {"configurable": {"tone": "dry", "api_key": SECRET, "thread_id": "other"}, "tags": ["a"]}
    first = made(olgas, config=config)
    thread = Thread.objects.create(owner=alice, assistant_id=first["assistant_id"])
    given: Any = {"options": {"stream_mode": []}, "config": {"configurable": {"length": 3}, "tags": ["b"]}}

    with engine_on() as engine:
        begun = runs.create_run(thread, user=alice, input={"told": {}}, fields=given)
        changed(olgas, first, config={}, context={"who": "new", "kind": "usual"})
        told = perform(engine, begun)
        told_later = perform(
            engine,
            runs.create_run(
                thread,
                user=alice,
                input={"told": {}},
                fields={"options": {"stream_mode": []}, "context": {"who": "own"}},
            ),
        )

    assert begun.version.number == 1
    assert told == {"tone": "dry", "length": 3, "api_key": SECRET, "context": None, "tags": ["a", "b"]}
    assert told_later["context"] == {"who": "own", "kind": "usual"}
    assert told_later["tone"] is None


def perform(engine: Engine, run: Run) -> Any:
    """What the node was called with, as the graph's state has it: the row's values are masked."""
    engine.perform(str(run.pk))
    run.refresh_from_db()
    assert run.status == "success", run.error
    state = engine._graphs.get("teller").checkpointer
    found = engine._call(state.aget_tuple({"configurable": {"thread_id": str(run.thread_id)}})).result(10)
    return found.checkpoint["channel_values"]["told"]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_a_worker_gave_back_keeps_its_version(
    olgas: Program, alice: User, engine_on: EngineOn
) -> None:
    first = made(olgas, config={"configurable": {"tone": "dry"}})
    thread = Thread.objects.create(owner=alice, assistant_id=first["assistant_id"])
    run = runs.create_run(thread, user=alice, input={"told": {}}, fields={"options": {"stream_mode": []}})
    claimed = Run.claim(run.pk, "a worker that dies")
    assert claimed is not None
    changed(olgas, first, config={"configurable": {"tone": "loud"}})
    claimed.release()

    with engine_on() as engine:
        assert perform(engine, run)["tone"] == "dry"


@pytest.mark.django_db(transaction=True)
def test_subgraphs_are_told_by_a_worker(olgas: Program, engine_on: EngineOn) -> None:
    first = made(olgas)

    with engine_on():
        answer = olgas.get(f"/assistants/{first['assistant_id']}/subgraphs?recurse=true")

    assert (answer.status_code, answer.json()) == (200, {})


def test_the_admin_shows_versions_and_goes_back_to_one(
    olgas: Program, operator: User, dave: User, carol: User, signed_in: Callable[[User], Client]
) -> None:
    first = made(olgas, name="Short")
    changed(olgas, first, name="Long")
    old = AssistantVersion.objects.get(assistant=first["assistant_id"], number=1)
    page = f"{ADMIN}/{first['assistant_id']}/change/"
    use = f"{VERSION}/{old.pk}/use/"

    for person in (operator, dave):
        assert f"{VERSION}/{old.pk}/change/" in signed_in(person).get(page).content.decode()
    assert use in signed_in(operator).get(f"{VERSION}/{old.pk}/change/").content.decode()
    assert use not in signed_in(dave).get(f"{VERSION}/{old.pk}/change/").content.decode()
    assert signed_in(dave).post(use).status_code == 403
    assert "/admin/login/" in signed_in(carol).post(use)["Location"]
    assert signed_in(operator).get(use).status_code == 405
    assert Assistant.objects.get(pk=first["assistant_id"]).version == 2

    assert signed_in(operator).post(use)["Location"] == page

    row = Assistant.objects.get(pk=first["assistant_id"])
    assert (row.version, row.name) == (1, "Short")


def test_the_admins_form_makes_a_version_and_brings_back_what_was_retired(
    olgas: Program, operator: User, signed_in: Callable[[User], Client]
) -> None:
    first = made(olgas, name="Short")
    olgas.call("DELETE", f"/assistants/{first['assistant_id']}")
    form = {"name": "Short again", "description": "", "starters": "", "is_active": "on"}

    answer = signed_in(operator).post(f"{ADMIN}/{first['assistant_id']}/change/", form)

    row = Assistant.objects.get(pk=first["assistant_id"])
    assert answer.status_code == 302
    assert (row.version, row.name, row.retired_at) == (2, "Short again", None)


def test_assistants_of_before_begin_with_their_first_version(assistant: Assistant) -> None:
    Assistant.objects.update(version=0)
    AssistantVersion.objects.all().delete()

    import_module("runtime.migrations.0008_assistant_versions").begin(apps, None)

    assistant.refresh_from_db()
    assert assistant.version == 1
    assert assistant.versions.get().content() == assistant.content()
    assistant.save()
    assert assistant.versions.count() == 1
