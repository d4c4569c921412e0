"""What a graph asks by itself, on the decision page."""

from __future__ import annotations

import json

import pytest

from apps.approvals.models import ApprovalRequest
from tests.approvals.conftest import REFUND, edited, page_of, post

CHOICE = {"enum": ["red", "blue"], "title": "Colour"}
NUMBER = {"type": "integer"}
PARCEL = {
    "type": "object",
    "properties": {"to": {"$ref": "#/$defs/Place"}, "weight": {"type": "integer", "title": "Weight"}},
    "required": ["weight"],
    "$defs": {"Place": {"type": "string", "description": "A city"}},
}


@pytest.fixture
def asked(waiting):
    """A question that a rule lets the approvers answer."""

    def make(user, schema=None, args=None, **fields) -> ApprovalRequest:
        return waiting(
            user, "interrupt", args or {"question": "Which <b>colour</b>?"}, kind="question", interrupt_id="i",
            takes=["respond", "reject"], args_schema=schema or {}, **fields,
        )  # fmt: skip

    return make


@pytest.fixture
def action(waiting):
    def make(user, *takes, **fields) -> ApprovalRequest:
        return waiting(
            user, kind="action", interrupt_id="i", takes=list(takes), why="Please <i>look</i>", **fields
        )

    return make


def test_a_question_can_be_read_and_answered(alice, bob, asked, signed_in):
    request = asked(alice)
    html = signed_in(bob).get(page_of(request)).content.decode()
    assert "alice&#x27;s assistant asks a question" in html
    assert "Which &lt;b&gt;colour&lt;/b&gt;?" in html
    assert 'value="approve"' not in html
    assert "allow calls like it" not in html

    assert post(signed_in(bob), request, "respond", **{"arg-answer": "blue"}).status_code == 302

    request.tool_call.refresh_from_db()
    assert (request.tool_call.state, request.tool_call.result) == ("responded", "blue")
    assert "blue" in signed_in(bob).get(page_of(request)).content.decode()


@pytest.mark.parametrize(
    ("schema", "fields", "kept"),
    [
        (NUMBER, {"arg-answer": "7"}, 7),
        (CHOICE, {"arg-answer": '"blue"'}, "blue"),
        (PARCEL, {"arg-weight": "3"}, {"weight": 3}),
        (PARCEL, {"arg-weight": "3", "arg-to": "Oslo"}, {"weight": 3, "to": "Oslo"}),
        ({"type": "boolean"}, {"arg-answer": "true"}, True),
        ({"type": "array", "items": {"type": "string"}}, {"arg-answer": '["a"]'}, ["a"]),
    ],
)
def test_an_answer_keeps_its_kind(alice, bob, asked, signed_in, schema, fields, kept):
    request = asked(alice, schema)

    assert post(signed_in(bob), request, "respond", **fields).status_code == 302

    request.tool_call.refresh_from_db()
    assert json.loads(request.tool_call.result) == kept


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        ({}, {}),
        ({}, {"arg-answer": "  "}),
        (NUMBER, {"arg-answer": "seven"}),
        (NUMBER, {}),
        (CHOICE, {"arg-answer": '"green"'}),
        (PARCEL, {"arg-to": "Oslo"}),
        (PARCEL, {"arg-weight": "3", "arg-more": "1"}),
    ],
)
def test_a_wrong_answer_is_not_taken(alice, bob, asked, signed_in, schema, fields):
    request = asked(alice, schema)

    assert post(signed_in(bob), request, "respond", **fields).status_code == 422

    request.tool_call.refresh_from_db()
    assert request.tool_call.state == "waiting"


@pytest.mark.parametrize("decision", ["approve", "edit"])
def test_a_question_is_nothing_to_approve(alice, bob, asked, signed_in, decision):
    assert post(signed_in(bob), asked(alice), decision).status_code == 422


def test_a_stranger_can_answer_nothing(alice, carol, dave, asked, signed_in):
    request = asked(alice)

    assert (
        post(signed_in(carol), request, "respond", **{"arg-answer": "x"}).status_code == 302
    )  # to the sign-in
    assert post(signed_in(dave), request, "respond", **{"arg-answer": "x"}).status_code == 403
    request.tool_call.refresh_from_db()
    assert request.tool_call.state == "waiting"


def test_an_action_is_shown_as_the_graphs(alice, bob, action, signed_in):
    html = signed_in(bob).get(page_of(action(alice, "approve", "edit"))).content.decode()

    assert "words, not checked" in html
    assert "written by the model" not in html
    assert "Please &lt;i&gt;look&lt;/i&gt;" in html
    assert 'value="edit"' in html
    assert 'value="reject"' not in html


def test_only_what_the_graph_takes_is_taken(alice, bob, action, signed_in):
    request = action(alice, "approve", "reject")

    assert post(signed_in(bob), request, "edit", **edited(amount="1.00")).status_code == 422
    assert post(signed_in(bob), request, "respond", answer="by hand").status_code == 422
    assert post(signed_in(bob), request, "approve").status_code == 302
    request.tool_call.refresh_from_db()
    assert request.tool_call.args == REFUND
