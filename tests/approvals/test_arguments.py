from __future__ import annotations

import pytest
from runtime.exceptions import InvalidDecision

from apps.approvals import arguments
from apps.approvals.fields import OMITTED, field_for
from apps.approvals.forms import ArgumentsForm
from tests.approvals.conftest import REFUND, SCHEMAS, edited

REFUND_SCHEMA = SCHEMAS["refund_order"]


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "-5"},
        {"amount": "0"},
        {"amount": None},
        {"amount": [1]},
        {"order_number": "1042"},
        {"order_number": 0},
        {"order_number": 1.5},
        {"order_number": True},
        {"reason": "x" * 10_001},
        {"reason": "nul\x00"},
        {"reason": "half \ud800 a character"},
        {"tool": "wipe_disk"},
        {"__proto__": {}},
    ],
)
def test_it_refuses_what_the_tool_does_not_take(change):
    with pytest.raises(InvalidDecision):
        arguments.checked({**REFUND, **change}, REFUND_SCHEMA)


@pytest.mark.parametrize("args", [None, [], "text", 5])
def test_it_refuses_what_is_no_object(args):
    with pytest.raises(InvalidDecision):
        arguments.checked(args, REFUND_SCHEMA)


def test_it_refuses_a_missing_argument():
    with pytest.raises(InvalidDecision, match="amount"):
        arguments.checked({"order_number": 1042}, REFUND_SCHEMA)


@pytest.mark.parametrize("change", [{}, {"amount": "0.01"}, {"amount": 59.9}, {"order_number": 7}])
def test_it_takes_what_the_tool_takes(change):
    args = {**REFUND, **change}

    assert arguments.checked(args, REFUND_SCHEMA) == args


def form_for(**posted):
    from django.http import QueryDict

    data = QueryDict(mutable=True)
    data.update(posted)
    return ArgumentsForm(REFUND, REFUND_SCHEMA, data)


def test_untouched_arguments_come_back_as_they_were():
    form = form_for(**edited())

    assert form.is_valid(), form.errors
    assert form.cleaned_data == REFUND
    assert form.touched == []


def test_numbers_stay_numbers_and_decimals_stay_texts():
    form = form_for(**edited(order_number="1043", amount="10.50"))

    assert form.is_valid(), form.errors
    assert form.cleaned_data == {"order_number": 1043, "amount": "10.50", "reason": "broken"}
    assert form.touched == ["Order Number", "Amount"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order_number", "ten"),
        ("order_number", ""),
        ("order_number", "1e3"),
        ("order_number", "٣"),
        ("amount", "-1"),
        ("amount", "NaN"),
        ("amount", "1,50"),
        ("amount", ""),
    ],
)
def test_it_marks_the_field_that_is_wrong(name, value):
    form = form_for(**edited(**{name: value}))

    assert not form.is_valid()
    assert list(form.errors) == [name]


def test_it_refuses_an_argument_the_tool_does_not_have():
    form = form_for(**edited(), **{"arg-customer": "mallory"})

    assert not form.is_valid()
    assert "customer" in str(form.errors)


def test_a_browsers_line_ends_are_no_change():
    schema = {"type": "object", "properties": {"body": {"type": "string"}}}
    form = ArgumentsForm({"body": "a\nb\rc"}, schema, {"arg-body": "a\r\nb\r\nc"})

    assert form.is_valid(), form.errors
    assert form.cleaned_data == {"body": "a\nb\rc"}


@pytest.mark.parametrize(
    ("schema", "original", "typed", "value"),
    [
        ({"type": "boolean"}, True, "false", False),
        ({"type": "number"}, 1.5, "2", 2),
        ({"type": "number"}, 1.5, "2.25", 2.25),
        ({"enum": ["low", "high"]}, "low", '"high"', "high"),
        ({"enum": [1, "1"]}, 1, '"1"', "1"),
        ({"type": "array"}, [1], "[1, 2]", [1, 2]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5, "", None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, "text", "text"),
        ({"$ref": "#/$defs/Colour"}, "red", '"blue"', "blue"),
        ({"type": "string"}, OMITTED, "", OMITTED),
        ({"type": "integer"}, OMITTED, "", OMITTED),
    ],
)
def test_each_type_is_read_as_what_it_is(schema, original, typed, value):
    root = {"$defs": {"Colour": {"enum": ["red", "blue"], "type": "string"}}}

    assert repr(field_for("x", schema, root, original).clean(typed)) == repr(value)


@pytest.mark.parametrize(
    ("schema", "typed"),
    [
        ({"type": "boolean"}, "yes"),
        ({"type": "number"}, "1e999"),
        ({"type": "number"}, "NaN"),
        ({"type": "number"}, "true"),
        ({"enum": ["low"]}, '"other"'),
        ({"type": "array"}, "[1,"),
        ({"type": "array"}, "[" * 100_000),
        ({"type": "array"}, "NaN"),
    ],
)
def test_each_type_refuses_what_it_is_not(schema, typed):
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        field_for("x", schema, {}, OMITTED).clean(typed)


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"type": "integer"}, "7", "It must be: a whole number."),
        ({"type": ["string", "null"]}, 7, "It must be: a text / nothing."),
        ({"enum": ["post", "till"]}, "desk", "It must be one of: post, till."),
        ({"minimum": 1}, 0, "It must be at least 1."),
        ({"exclusiveMaximum": 5}, 5, "It must be less than 5."),
        ({"maxLength": 3}, "long", "It must have at most 3 characters."),
        ({"minItems": 1}, [], "It must have at least 1 entries."),
        ({"pattern": "^A"}, "B", "It must have this form: ^A."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(schema, value, said):
    assert arguments.problems({"it": value}, {"properties": {"it": schema}}) == [("it", said)]


def test_what_is_missing_and_what_is_too_much_is_named():
    schema = {"properties": {"a": {}, "b": {}}, "required": ["a", "b"]}

    assert arguments.problems({"c": 1, "d": 2}, schema) == [
        ("a", "The tool needs this."),
        ("b", "The tool needs this."),
        ("c", "The tool takes nothing of this name."),
        ("d", "The tool takes nothing of this name."),
    ]
