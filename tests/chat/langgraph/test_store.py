"""A person's store: what programs put there, who finds it, and what a graph that runs for them finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from accounts.models import User
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from pytest_django.fixtures import Settings
from runtime import runs
from runtime.engine import Engine
from runtime.models import Assistant, RunStatus, StoreItem, Thread

from tests.chat.langgraph.conftest import Program
from tests.support import asking_graph
from tests.support.asking_graph import State

pytestmark = pytest.mark.django_db

HOME = ["people", "ada"]


def put(program: Program, namespace: list[str], key: str, **value: Any) -> None:
    answer = program.call("PUT", "/store/items", {"namespace": namespace, "key": key, "value": value})
    assert (answer.status_code, answer.content) == (204, b"")


def got(program: Program, namespace: list[str], key: str) -> Any:
    answer = program.get(f"/store/items?namespace={'.'.join(namespace)}&key={key}")
    assert answer.status_code == 200
    return answer.json()


def keys(program: Program, **search: Any) -> list[str]:
    answer = program.post("/store/items/search", search)
    assert answer.status_code == 200, answer.content
    return sorted(item["key"] for item in answer.json()["items"])


def test_an_item_is_kept_changed_and_deleted(alices_program: Program) -> None:
    assert got(alices_program, HOME, "city") is None
    put(alices_program, HOME, "city", name="London")
    first = got(alices_program, HOME, "city")
    put(alices_program, HOME, "city", name="Paris")

    second = got(alices_program, HOME, "city")
    assert (second["namespace"], second["key"], second["value"]) == (HOME, "city", {"name": "Paris"})
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] >= first["updated_at"]
    assert StoreItem.objects.count() == 1
    name = {"namespace": HOME, "key": "city"}
    assert alices_program.call("DELETE", "/store/items", name).status_code == 204
    assert got(alices_program, HOME, "city") is None
    assert alices_program.call("DELETE", "/store/items", name).status_code == 204


def test_items_are_found_by_namespace_and_value(alices_program: Program) -> None:
    put(alices_program, HOME, "a", n=1, tags={"x": [1]})
    put(alices_program, HOME, "b", n=2)
    put(alices_program, ["people", "bob"], "c", n=3, **{"0": "digit", "n__gt": "a name like any other"})
    put(alices_program, ["peoples"], "d", n=1)

    assert keys(alices_program, namespace_prefix=[]) == ["a", "b", "c", "d"]
    assert keys(alices_program, namespace_prefix=["people"]) == ["a", "b", "c"]
    assert keys(alices_program, namespace_prefix=["people"], limit=1, offset=1) == ["b"]
    for filter, found in (
        ({"n": 1}, ["a", "d"]),
        ({"n": {"$gte": 2}}, ["b", "c"]),
        ({"n": {"$gt": 1, "$lt": 3}}, ["b"]),
        ({"n": {"$ne": 1}}, ["b", "c"]),
        ({"tags": {"x": [1]}}, ["a"]),
        ({"n__gt": "a name like any other"}, ["c"]),
        ({"n__gt": 0}, []),
        ({"owner__password": "x"}, []),
    ):
        assert keys(alices_program, filter=filter) == found, filter


def test_namespaces_are_told_once_and_cut_off(alices_program: Program) -> None:
    for namespace in (HOME, ["people", "bob"], ["orders", "2026", "ada"]):
        put(alices_program, namespace, "x")
        put(alices_program, namespace, "y")

    def told(**search: Any) -> Any:
        return alices_program.post("/store/namespaces", search).json()["namespaces"]

    assert told() == [["orders", "2026", "ada"], ["people", "ada"], ["people", "bob"]]
    assert told(prefix=["people"]) == [["people", "ada"], ["people", "bob"]]
    assert told(suffix=["ada"]) == [["orders", "2026", "ada"], ["people", "ada"]]
    assert told(prefix=["*", "2026"]) == [["orders", "2026", "ada"]]
    assert told(max_depth=1) == [["orders"], ["people"]]
    assert told(limit=1, offset=1) == [["people", "ada"]]


def test_nobody_finds_another_persons_items(
    alices_program: Program, carol: User, program: Callable[..., Program]
) -> None:
    put(alices_program, HOME, "secret", n=1)
    stranger = program(carol)

    assert got(stranger, HOME, "secret") is None
    assert keys(stranger, namespace_prefix=[]) == keys(stranger, filter={"n": 1}) == []
    assert stranger.post("/store/namespaces", {}).json() == {"namespaces": []}
    stranger.call("DELETE", "/store/items", {"namespace": HOME, "key": "secret"})
    put(stranger, HOME, "secret", n=2)
    assert got(alices_program, HOME, "secret")["value"] == {"n": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"namespace": []},
        {"namespace": [""]},
        {"namespace": ["a.b"]},
        {"namespace": ["x"] * 11},
        {"namespace": ["ä" * 100] * 6},
        {"namespace": [5]},
        {"namespace": "people"},
        {"key": ""},
        {"key": "x" * 256},
        {"value": None},
        {"value": [1]},
        {"value": {"a": "x" * 70_000}},
        {"value": {"a": "\x00"}},
        {"ttl": 5},
    ],
)
def test_what_cant_be_kept_is_told(alices_program: Program, wrong: dict[str, Any]) -> None:
    item = {"namespace": HOME, "key": "k", "value": {}, **wrong}

    answer = alices_program.call("PUT", "/store/items", item)

    assert answer.status_code == 422, answer.content
    assert answer.json()["detail"]
    assert not StoreItem.objects.exists()


@pytest.mark.parametrize(
    "search",
    [{"filter": {"a": {"$where": 1}}}, {"query": "meaning"}, {"limit": 0}, {"namespace_prefix": ["a.b"]}],
)
def test_what_cant_be_searched_is_told(alices_program: Program, search: dict[str, Any]) -> None:
    assert alices_program.post("/store/items/search", search).status_code == 422


def test_a_store_takes_only_so_much(alices_program: Program, settings: Settings) -> None:
    settings.STORE_ITEMS_EACH = 1
    put(alices_program, HOME, "a")
    put(alices_program, HOME, "a", n=2)

    answer = alices_program.call("PUT", "/store/items", {"namespace": HOME, "key": "b", "value": {}})

    assert answer.status_code == 409
    assert keys(alices_program) == ["a"]


@pytest.mark.django_db(transaction=True)
def test_a_graph_finds_the_store_of_whom_it_runs_for(
    alice: User, carol: User, engine: Engine, program: Callable[..., Program], settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def remember(state: State, runtime: Runtime[None]) -> dict[str, Any]:
        store: Any = runtime.store
        known = await store.aget(("people",), "name")
        await store.aput(("notes", "graph"), "seen", {"name": known and known.value})
        await store.aput(("notes", "gone"), "x", {})
        await store.adelete(("notes", "gone"), "x")
        found = await store.asearch(("notes",), filter={"name": known and known.value})
        paths = await store.alist_namespaces(prefix=("notes",))
        return {"said": [f"{len(found)} {paths}"]}

    def look(state: State, runtime: Runtime[None]) -> dict[str, Any]:
        found = runtime.store.get(("notes", "graph"), "seen") if runtime.store else None
        return {"said": [str(found and found.value)]}

    graph = StateGraph(State)
    graph.add_sequence([remember, look])
    graph.add_edge(START, "remember")
    monkeypatch.setattr(asking_graph, "graph", graph.compile(), raising=False)
    settings.COUNTERSIGN_GRAPHS = {"asking": "tests.support.asking_graph:graph"}
    assistant = Assistant.objects.create(graph_id="asking", name="Asking")
    put(program(alice), ["people"], "name", is_="Ada")

    for person, name in ((alice, {"is_": "Ada"}), (carol, None)):
        thread = Thread.objects.create(owner=person, assistant=assistant)
        run = runs.send_message(thread, person, "hello", fields={"options": {"stream_mode": ["values"]}})
        assert engine.perform(str(run.pk)) == RunStatus.SUCCESS
        said = thread.state.values["said"]
        assert said == ["1 [('notes', 'graph')]", str({"name": name})]
        assert got(program(person), ["notes", "graph"], "seen")["value"] == {"name": name}
    assert StoreItem.objects.count() == 3
