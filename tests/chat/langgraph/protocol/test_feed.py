"""What a subscription hears of a thread: each event once, in order, whatever becomes of the log."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from runtime.models import RunStatus, Thread

from apps.chat import watching
from apps.chat.langgraph.protocol.envelopes import Subscription
from tests.chat.langgraph.protocol.conftest import VALUES, Streaming, ended, heard, methods, said
from tests.chat.leaving import WAYS, left

pytestmark = pytest.mark.django_db(transaction=True)

QUESTION = {"id": "a" * 32, "value": {"action_requests": []}, "task_id": "t", "calls": []}


def turn(streaming: Streaming) -> Any:
    """A run that says "Let me see." in three chunks."""
    run = streaming.started()
    streaming.checkpoint(run, "c0", 0, VALUES)
    streaming.chunk(run, content="Let me ")
    streaming.chunk(run, content="see.")
    streaming.chunk(run, chunk_position="last", usage_metadata={"input_tokens": 3, "output_tokens": 2})
    streaming.told(run, "updates", {"model": {"messages": []}})
    return run


def test_a_turn_is_told_in_the_words_of_the_protocol(thread: Thread, streaming: Streaming) -> None:
    streaming.ends(turn(streaming))

    found = heard(thread)

    assert methods(found) == [
        "lifecycle", "checkpoints", "values", *["messages"] * 6, "updates", "lifecycle"
    ]  # fmt: skip
    assert said(found, "lifecycle") == [
        {"event": "running", "graph_name": "shop"},
        {"event": "completed", "graph_name": "shop"},
    ]
    assert said(found, "checkpoints") == [{"id": "c0", "step": 0, "source": "loop"}]
    assert said(found, "values") == [VALUES]
    assert [each["event"] for each in said(found, "messages")] == [
        "message-start", "content-block-start", "content-block-delta", "content-block-delta",
        "content-block-finish", "message-finish",
    ]  # fmt: skip
    assert said(found, "messages")[4]["content"] == {"type": "text", "text": "Let me see."}
    assert said(found, "messages")[5]["usage"]["output_tokens"] == 2
    assert said(found, "updates") == [{"node": "model", "values": {"messages": []}}]


def test_each_event_comes_once_after_where_the_client_stopped(thread: Thread, streaming: Streaming) -> None:
    streaming.ends(turn(streaming))
    whole = heard(thread)

    assert len({event["event_id"] for event in whole}) == len(whole)
    for at, event in enumerate(whole[:-1]):
        rest = heard(thread, since=event["seq"])
        assert [each["event_id"] for each in rest] == [each["event_id"] for each in whole[at + 1 :]]


def test_what_comes_while_it_listens_is_told_too(thread: Thread, streaming: Streaming) -> None:
    run = turn(streaming)

    def end() -> None:
        try:
            streaming.chunk(run, id="other", content="More")
            streaming.ends(run)
        finally:
            connections.close_all()

    live = heard(thread, meanwhile=end)

    assert [each["event_id"] for each in live] == [each["event_id"] for each in heard(thread)]


def test_it_goes_on_over_the_end_of_a_run(thread: Thread, streaming: Streaming) -> None:
    streaming.ends(turn(streaming))
    streaming.ends(turn(streaming))
    ends: list[Any] = []

    def second(event: Any) -> bool:
        ends.extend([event] if ended(event) else [])
        return len(ends) == 2

    assert [each["event"] for each in said(heard(thread, second), "lifecycle")] == [
        "running", "completed", "running", "completed"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {("lifecycle", 0), ("lifecycle", 1), ("messages", 1)}),
        ({"namespaces": [[]], "depth": 0}, {("lifecycle", 0)}),
        ({"namespaces": [["search"]]}, {("lifecycle", 1), ("messages", 1)}),
        ({"namespaces": [["search:2"]]}, set()),
    ],
)
def test_only_what_is_subscribed_to_is_told(
    thread: Thread, streaming: Streaming, wanted: Any, expected: Any
) -> None:
    run = streaming.started()
    streaming.chunk(run, "search:1", content="Below")
    streaming.ends(run)
    subscription = Subscription.model_validate({"channels": ["messages", "lifecycle"], **wanted})

    found = [event for event in heard(thread) if subscription.takes(event)]

    assert {(event["method"], len(event["params"]["namespace"])) for event in found} == expected
    assert set(methods(heard(thread, channels=["lifecycle"]))) == {"lifecycle"}


def test_a_question_is_told_once_and_the_run_rests(thread: Thread, streaming: Streaming) -> None:
    run = streaming.started()
    streaming.told(run, "updates", {"__interrupt__": [{"id": QUESTION["id"], "value": QUESTION["value"]}]})
    streaming.ends(run, RunStatus.WAITING, interrupts=[QUESTION])

    found = heard(thread)

    assert methods(found) == ["lifecycle", "input.requested", "lifecycle"]
    assert said(found, "input.requested")[0]["interrupt_id"] == QUESTION["id"]
    assert said(found, "input.requested")[0]["payload"] == QUESTION["value"]
    assert found[-1]["params"]["data"]["event"] == "interrupted"


def test_tool_calls_are_told_as_the_ledger_has_them(thread: Thread, streaming: Streaming) -> None:
    run = streaming.started()
    streaming.call(run, "done", result="refunded")
    streaming.call(run, "rejected", reason="Too much")
    streaming.call(run, "failed", error="No such order")
    streaming.ends(run)

    tools = said(heard(thread), "tools")

    assert [each["event"] for each in tools] == ["tool-started", "tool-finished"] + [
        "tool-started",
        "tool-error",
    ] * 2
    assert tools[0]["input"] == {"order_number": 1042, "amount": "59.90"}
    assert tools[1]["output"] == "refunded"
    assert (tools[3]["message"], tools[3]["code"]) == ("Too much", "rejected")
    assert tools[5]["message"] == "No such order"


def test_a_run_of_a_page_is_told_by_its_rows(thread: Thread, streaming: Streaming) -> None:
    run = streaming.begin("Where is my order?")
    streaming.stream(run, "a", "On its ", "way.")
    streaming.say(run, "a", "On its way.")
    streaming.ends(run)

    found = heard(thread)

    starts = [each for each in said(found, "messages") if each["event"] == "message-start"]
    whole = [each for each in said(found, "messages") if each["event"] == "content-block-finish"]
    assert [each["role"] for each in starts] == ["human", "ai"]
    assert [each["content"]["text"] for each in whole] == ["Where is my order?", "On its way."]
    assert said(found, "values") == [VALUES]


def test_a_subgraph_begins_and_ends(thread: Thread, streaming: Streaming) -> None:
    run = streaming.started()
    streaming.chunk(run, "search:7", content="Below", chunk_position="last")
    streaming.told(run, "tasks", {"id": "7", "name": "search", "result": {}, "error": None})
    streaming.ends(run)

    below = [event for event in heard(thread) if event["params"]["namespace"] == ["search:7"]]

    assert [each["event"] for each in said(below, "lifecycle")] == ["started", "completed"]
    assert said(below, "lifecycle")[0]["graph_name"] == "search"


def test_what_went_wrong_is_told(thread: Thread, streaming: Streaming) -> None:
    run = streaming.started()
    streaming.chunk(run, content="Let me")
    streaming.ends(run, RunStatus.ERROR, error="It broke.", error_type="ValueError")

    found = heard(thread)

    assert found[-1]["params"]["data"] == {"event": "failed", "graph_name": "shop", "error": "It broke."}
    assert said(found, "messages")[-1]["event"] == "error"


def test_what_was_too_large_for_the_log_comes_from_the_row(thread: Thread, streaming: Streaming) -> None:
    run = streaming.started()
    streaming.wire(run, mode="checkpoints", gap=True)
    streaming.ends(run)

    assert said(heard(thread), "values") == [VALUES]


def test_another_attempt_is_no_other_run(thread: Thread, streaming: Streaming) -> None:
    run = streaming.started()
    streaming.chunk(run, id="lost", content="Let me")
    streaming.announce("run", run, status="running", attempt=2)
    streaming.chunk(run, id="said", content="Done.", chunk_position="last")
    streaming.ends(run)

    found = heard(thread)

    assert [each["event"] for each in said(found, "lifecycle")] == ["running", "completed"]
    ends = [each["message_id"] for each in said(found, "messages") if each["event"] == "message-finish"]
    assert ends == ["said"]


# Where the log is gone


@pytest.mark.parametrize("how", ["from the beginning", "after an event"])
def test_a_log_that_is_gone_is_answered_from_the_rows(thread: Thread, streaming: Streaming, how: str) -> None:
    streaming.ends(turn(streaming), RunStatus.WAITING, interrupts=[QUESTION])
    since = heard(thread)[1]["seq"] if how == "after an event" else None
    streaming.forget()

    found = heard(thread, since=since)

    assert methods(found) == ["values", "input.requested", "lifecycle"]
    assert found[0]["params"]["data"] == VALUES
    assert [each["event_id"] for each in heard(thread)] == [each["event_id"] for each in found]


def test_a_log_that_is_lost_meanwhile_is_gone_on_from(thread: Thread, streaming: Streaming) -> None:
    run = turn(streaming)
    before = heard(thread, lambda event: event["method"] == "updates")

    def lose() -> None:
        try:
            streaming.forget()
            streaming.chunk(run, id="second", content="Well.", chunk_position="last")
            streaming.ends(run)
        finally:
            connections.close_all()

    live = heard(thread, meanwhile=lose, since=before[-1]["seq"])

    assert [each for each in said(live, "lifecycle") if each["event"] == "completed"]
    assert "Well." in [
        each["content"]["text"] for each in said(live, "messages") if each["event"] == "content-block-finish"
    ]
    numbers = [event["seq"] for event in live if "seq" in event]
    assert numbers == sorted(numbers)
    assert numbers[0] > before[-1]["seq"]


def test_an_end_that_nobody_told_the_log_is_found_out(
    thread: Thread, streaming: Streaming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.2)
    run = turn(streaming)
    type(run).objects.filter(pk=run.pk).update(status=RunStatus.ERROR, error="It broke.")

    found = heard(thread)

    assert found[-1]["params"]["data"]["error"] == "It broke."
    assert len([each for each in said(found, "lifecycle") if each["event"] == "failed"]) == 1


@pytest.mark.parametrize("how", WAYS)
def test_who_may_no_longer_listen_hears_nothing_more(
    thread: Thread, streaming: Streaming, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(watching, "BEAT", 0.2)
    turn(streaming)
    credential = left(thread, how)

    assert not any(map(ended, heard(thread, credential=credential)))  # it comes to an end by itself
