"""Every way of writing an argument that a rule must not be dodged with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime.models import ToolCall

from apps.approvals.conditions import Unreadable, check, evaluate, objections, within
from apps.approvals.facts import Facts
from apps.approvals.models import Condition


def answer(args: Any, argument: str, operator: str, value: str = "", *, every: bool = False) -> Any:
    condition = Condition(argument=argument, operator=operator, value=value)
    check(condition)
    return evaluate(condition, Facts(ToolCall(args=args)), every=every).holds


def catches(args: Any, *row: str) -> bool:
    """What a rule that asks or denies makes of it."""
    return answer(args, *row) is not False


def lets_pass(args: Any, *row: str) -> bool:
    """What a rule that allows makes of it."""
    return answer(args, *row, every=True) is True


@pytest.mark.parametrize(
    "amount",
    [101, 100.5, "1e3", "100.0000001", " 101 ", "１０１", "١٠١", "9_000", [1, 101], '"1e3"', "[101]", 10**40],
)
def test_more_than_a_hundred_however_it_is_written(amount):
    assert answer({"amount": amount}, "amount", "more than", "100") is True
    assert not lets_pass({"amount": amount}, "amount", "at most", "100")


@pytest.mark.parametrize("amount", [100, "100.0", "1e2", -1, "-1", "٣", 99.99])
def test_not_more_than_a_hundred(amount):
    assert answer({"amount": amount}, "amount", "more than", "100") is False
    assert lets_pass({"amount": amount}, "amount", "at most", "100")


@pytest.mark.parametrize("amount", [True, None, "1,000", "100 EUR", "NaN", "1e999x", {"value": 1}, "", "∞"])
def test_what_is_no_number_is_the_riskier_answer(amount):
    assert catches({"amount": amount}, "amount", "more than", "100")
    assert catches({"amount": amount}, "amount", "less than", "100")
    assert not lets_pass({"amount": amount}, "amount", "at most", "100")


def test_an_argument_that_is_not_there_is_the_riskier_answer():
    assert answer({}, "amount", "more than", "100") is None
    assert catches({}, "amount", "is", "x")
    assert not lets_pass({}, "amount", "is", "x")


@pytest.mark.parametrize(
    "args",
    [
        {"order": {"total": 500}},
        {"order": json.dumps({"total": 500})},
        {"order": json.dumps(json.dumps({"total": "500"}))},
        {"order": [{"total": 1}, {"total": 500}]},
        {"order": '{"total": 1, "total": 500}'},
    ],
)
def test_nested_and_encoded_arguments_are_found(args):
    assert catches(args, "order.total", "more than", "100")
    assert not lets_pass(args, "order.total", "at most", "100")


def test_one_item_of_a_list_is_enough_to_ask_and_all_are_needed_to_allow():
    args = {"items": [{"price": 5}, {"price": 500}]}

    assert answer(args, "items[].price", "more than", "100") is True
    assert not lets_pass(args, "items[].price", "at most", "100")
    assert lets_pass({"items": [{"price": 5}]}, "items[].price", "at most", "100")
    assert not lets_pass({"items": []}, "items[].price", "at most", "100")
    assert catches({"items": [{"price": 5}, {}]}, "items[].price", "more than", "100")


@pytest.mark.parametrize(
    "to",
    [
        "evil@bad.com",
        "x@example.com <evil@bad.com>",
        '"x@example.com" <evil@bad.com>',
        "evil@bad.com <x@example.com>",
        "Ada <ada@example.com>, evil@bad.com",
        "ada@example.com; evil@bad.com",
        "ada@example.com\nBcc: evil@bad.com",
        "evil@bad.com (@example.com)",
        '"evil@bad.com"@example.com',
        "evil@bad.com@example.com",
        "evil@bad.com＠example.com",
        "evil@bad.com, ada@example.com",
        "ada@example.com, root",
        "evil@example.com.bad.com",
        "evil@notexample.com",
        "nobody",
        ["ada@example.com", "evil@bad.com"],
        '["ada@example.com", "evil@bad.com"]',
        {"address": "evil@bad.com"},
    ],
)
def test_no_recipient_outside_gets_by(to):
    args = {"to": to}

    assert catches(args, "to", "does not end with", "@example.com")
    assert not lets_pass(args, "to", "ends with", "@example.com")


@pytest.mark.parametrize(
    "to",
    [
        "ada@example.com",
        "ADA@EXAMPLE.COM",
        "Ada <ada@example.com>",
        "ada@example.com, Bob <bob@example.com>",
        ["ada@example.com", "bob@Example.com"],
        "ada@example.com.",
    ],
)
def test_recipients_of_the_company_pass(to):
    assert answer({"to": to}, "to", "does not end with", "@example.com") is False
    assert lets_pass({"to": to}, "to", "ends with", "@example.com")


def test_a_domain_without_an_at_sign_is_held_against_each_recipient():
    assert catches({"to": "evil@bad.com, x@example.com"}, "to", "does not end with", "example.com")
    assert answer({"to": "x@bad.com <y@example.com>"}, "to", "ends with", "bad.com") is True


def test_one_recipient_that_is_meant_is_found_among_many():
    args = {"to": "Ada <ADA@example.com>, bob@example.com"}

    assert answer(args, "to", "one of", "carol@example.com, ada@example.com") is True
    assert answer(args, "to", "none of", "ada@example.com, bob@example.com") is False
    assert answer(args, "to", "none of", "ada@example.com") is True


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/etc/passwd",
        "//etc/passwd",
        "/tmp/../etc/passwd",
        "/./etc//passwd",
        "/srv/%2e%2e/etc/passwd",
        "/ETC/passwd",
        "etc/passwd",
        "../../etc/passwd",
        "~root/../etc",
        "file:///etc/passwd",
        "/etcetera",
        "\\etc\\passwd",
    ],
)
def test_no_path_gets_under_a_folder_unseen(path):
    assert catches({"path": path}, "path", "begins with", "/etc")


@pytest.mark.parametrize(
    "path", ["/srv/public/../../etc/passwd", "/srv/public-not", "srv/public/x", "/srv/Public/x", "/srv"]
)
def test_no_path_passes_for_one_under_a_folder(path):
    assert not lets_pass({"path": path}, "path", "begins with", "/srv/public")


def test_paths_are_compared_as_folders():
    assert answer({"path": "/srv/etc/x"}, "path", "begins with", "/etc") is False
    assert answer({"path": "/etc/../home"}, "path", "begins with", "/etc") is False
    assert answer({"path": "/etcetera"}, "path", "begins with", "/etc/") is False
    assert lets_pass({"path": "/srv/public//a/./b"}, "path", "begins with", "/srv/public")
    assert answer({"path": "/tmp/../etc/passwd"}, "path", "is", "/etc/passwd") is True


@pytest.mark.parametrize("folder", ["Public", "ＰＵＢＬＩＣ", "pub\u200blic", " public"])
def test_a_spelling_a_tool_may_read_otherwise_is_the_riskier_answer(folder):
    assert answer({"folder": folder}, "folder", "is", "public") is None
    assert answer({"folder": folder}, "folder", "is not", "public") is None


@pytest.mark.parametrize(
    ("value", "row", "expected"),
    [
        (7, ("is", "7.0"), True),
        ("7", ("is not", "7"), False),
        ("seven", ("is", "7"), False),
        ("DE", ("one of", "FR, DE"), True),
        ("US", ("none of", "FR, DE"), True),
        ("US", ("one of", "FR，DE、US"), True),
        (True, ("is", "true"), True),
        ("hello world", ("contains", "lo wo"), True),
        ("hello", ("begins with", "he"), True),
        ("hello", ("longer than", "4"), True),
        ("hello", ("longer than", "5"), False),
        ("x", ("given", ""), True),
        (None, ("given", ""), False),
        (None, ("missing", ""), True),
        ([], ("missing", ""), False),
    ],
)
def test_operators(value, row, expected):
    assert answer({"it": value}, "it", *row) is expected


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (("amount", "more than", "much"), "value"),
        (("amount", "longer than", "x"), "value"),
        (("amount", "is", ""), "value"),
        (("amount", "one of", " , "), "value"),
        (("amount", "given", "x"), "value"),
        (("amount", "matches", "x"), "operator"),
        (("requester.age", "is", "3"), "argument"),
        (("time.minute", "is", "3"), "argument"),
        (("calls.ever", "is", "3"), "argument"),
        (("sum.today", "is", "3"), "argument"),
        (("sum.time.hour.today", "is", "3"), "argument"),
        (("order..total", "is", "3"), "argument"),
        (("items[0].price", "is", "3"), "argument"),
        (("requester.group", "contains", "x"), "operator"),
        (("time.weekday", "is", "someday"), "value"),
        (("time.hour", "at least", "24"), "value"),
        (("time.hour", "one of", "8, 9.5"), "value"),
        (("calls.today", "is", "many"), "value"),
        (("sum.amount.today", "one of", "1, x"), "value"),
    ],
)
def test_a_row_that_says_nothing_is_refused_and_never_evaluated(row, field):
    assert list(objections(*row)) == [field]
    with pytest.raises(Unreadable):
        answer({"amount": 1}, *row)


@pytest.mark.parametrize(
    "row",
    [
        ("amount", "more than", "1e2"),
        ("items[].price", "at most", "5"),
        ("requester.group", "none of", "Finance, Sales"),
        ("time.hour", "one of", "8, 9"),
        ("time.weekday", "one of", "Mon, tuesday, 3"),
        ("sum.items[].price.today", "more than", "5"),
        ("calls.today", "at least", "10"),
    ],
)
def test_a_row_that_says_something_is_taken(row):
    assert objections(*row) == {}


def test_the_time_is_the_servers(settings):
    settings.TIME_ZONE = "Asia/Shanghai"
    saturday_night = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # Saturday 07:30 over there
    facts = Facts(ToolCall(args={}), moment=saturday_night)

    def holds(*row: str) -> Any:
        condition = Condition(argument=row[0], operator=row[1], value=row[2])
        return evaluate(condition, facts, every=False).holds

    assert holds("time.hour", "is", "7") is True
    assert holds("time.weekday", "is", "saturday") is True
    assert holds("time.weekday", "one of", "sat, 7") is True
    assert holds("time.weekday", "at most", "friday") is False


# --- edits -------------------------------------------------------------------------------------------------


def test_without_bounds_anything_may_be_edited():
    assert within([], {"a": 1}, {"a": 2, "b": 3}) == []


def test_with_bounds_only_what_they_name_may_be_edited():
    bounds = [("amount", "at most", "100")]

    assert within(bounds, {"amount": 500, "to": "x"}, {"amount": "99.90", "to": "x"}) == []
    assert [name for name, _ in within(bounds, {"amount": 5, "to": "x"}, {"amount": 5, "to": "y"})] == ["to"]
    assert [name for name, _ in within(bounds, {"amount": 5}, {"amount": 5, "more": 1})] == ["more"]
    assert [name for name, _ in within(bounds, {"amount": 5, "to": "x"}, {"amount": 5})] == ["to"]


@pytest.mark.parametrize("amount", [101, "1e3", "much", None, [1, 500], True, "[500]"])
def test_an_edit_keeps_to_its_bounds(amount):
    problems = within(
        [("amount", "at most", "100"), ("amount", "at least", "1")], {"amount": 5}, {"amount": amount}
    )

    assert {name for name, _ in problems} == {"amount"}


def test_an_edit_that_leaves_an_argument_out_breaks_its_bound():
    assert within([("amount", "at most", "100")], {"amount": 5}, {})
    assert within([("note", "missing", "")], {"note": "x"}, {}) == []


def test_bounds_reach_into_objects_and_lists():
    before = {"order": {"total": 5, "to": "x"}, "items": [{"price": 1, "name": "a"}]}
    bounds = [("order.total", "at most", "10"), ("items[].price", "at most", "10")]

    def problems(**changes: Any) -> list[str]:
        return [name for name, _ in within(bounds, before, {**before, **changes})]

    assert problems(order={"total": 9, "to": "x"}, items=[{"price": 10, "name": "a"}]) == []
    assert problems(order={"total": 9, "to": "y"}) == ["order.to"]
    assert problems(items=[{"price": 11, "name": "b"}]) == ["items[].name", "items[].price"]
    assert problems(items=[{"price": 1, "name": "a"}] * 2) == ["items"]
    assert problems(order='{"total": 9, "to": "x"}') == ["order"]


def test_a_dot_in_a_name_is_no_way_into_a_bound():
    assert within([("order", "given", "")], {"order": 1, "order.to": "x"}, {"order": 1, "order.to": "y"})


def test_one_and_true_are_two():
    assert within([("other", "is", "x")], {"a": 1}, {"a": True})


def test_a_bound_that_can_not_be_read_lets_nothing_through():
    assert within([("amount", "at most", "lots")], {"amount": 5}, {"amount": 1})


# --- against an oracle that shares no code with it ----------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6), st.decimals(-1000, 1000, places=4), st.floats(-1e6, 1e6, allow_nan=False)
)
JUNK = st.one_of(st.none(), st.booleans(), st.sampled_from(["", "ten", "1,5", "12 EUR", "NaN", "{}"]))


def written(number: Any, form: int) -> Any:
    """One number in one of the forms a model may write it in."""
    if form == 0 and not isinstance(number, int | float):
        return str(number)
    forms = (
        number,
        str(number),
        f" {number} ",
        str(number).translate({ord("0") + n: 0x0660 + n for n in range(10)}),
    )
    return forms[form]


def oracle(numbers: list[Fraction | None], operator: str, limit: Fraction, *, is_allowing: bool) -> bool:
    tests = {
        "more than": lambda x: x > limit,
        "at most": lambda x: x <= limit,
        "less than": lambda x: x < limit,
        "at least": lambda x: x >= limit,
    }
    held = [is_risky if x is None else tests[operator](x) for x in numbers for is_risky in [not is_allowing]]
    return bool(held) and all(held) if is_allowing else any(held)


@given(
    values=st.lists(st.one_of(st.tuples(NUMBERS, st.integers(0, 3)), JUNK), max_size=4),
    limit=st.decimals(-1000, 1000, places=3),
    operator=st.sampled_from(["more than", "at most", "less than", "at least"]),
    is_allowing=st.booleans(),
)
def test_numbers_agree_with_the_oracle(values, limit, operator, is_allowing):
    args = [written(*value) if isinstance(value, tuple) else value for value in values]
    meant = [Fraction(str(value[0])) if isinstance(value, tuple) else None for value in values]

    holds = answer({"n": args}, "n", operator, str(limit), every=is_allowing)

    taken = holds if holds is not None else not is_allowing
    assert taken == oracle(meant, operator, Fraction(str(limit)), is_allowing=is_allowing)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OPERATORS = [
    *("is", "is not", "more than", "at most", "less than", "at least", "one of", "none of", "begins with"),
    *("ends with", "does not end with", "contains", "longer than", "given", "missing"),
]
OPPOSITE = {"is": "is not", "one of": "none of", "ends with": "does not end with", "more than": "at most"}


@given(
    value=JSON,
    operator=st.sampled_from(OPERATORS),
    text=st.text(min_size=1, max_size=12),
    every=st.booleans(),
)
def test_nothing_a_model_writes_breaks_a_condition(value, operator, text, every):
    if not objections("it", operator, text):
        assert answer({"it": value}, "it", operator, text, every=every) in (True, False, None)


@given(value=JSON, operator=st.sampled_from(sorted(OPPOSITE)), text=st.text(min_size=1, max_size=6))
def test_what_a_rule_asks_about_no_opposite_rule_allows(value, operator, text):
    """Whoever is let through by "x" is not caught by "not x", whatever was written."""
    if not objections("it", operator, text) and lets_pass({"it": value}, "it", operator, text):
        assert answer({"it": value}, "it", OPPOSITE[operator], text) is False


@given(
    before=st.dictionaries(st.sampled_from("abc"), JSON, max_size=3),
    after=st.dictionaries(st.sampled_from("abc"), JSON, max_size=3),
)
def test_an_edit_of_what_no_bound_names_is_always_refused(before, after):
    def rest(args: dict[str, Any]) -> str:
        return json.dumps({name: value for name, value in args.items() if name != "a"}, sort_keys=True)

    problems = within([("a", "given", "")], before, after)

    refused = {name.replace("[]", "").partition(".")[0] for name, _ in problems} & {"b", "c"}
    assert bool(refused) == (rest(before) != rest(after))
