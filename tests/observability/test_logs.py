from __future__ import annotations

import json
import logging
import sys

import pytest
from django.test import Client

from apps.observability.logs import JSONFormatter, log_context


def formatted(message: str = "run finished", *args: object, **extra: object) -> dict[str, object]:
    logger = logging.getLogger("tests")
    record = logger.makeRecord(
        "tests", logging.INFO, __file__, 1, message, args, extra.pop("exc_info", None), extra=extra
    )
    line = JSONFormatter().format(record)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def test_a_line_is_one_json_object() -> None:
    line = formatted("took %s s", 3, action="run_finished", run_id="42")
    assert line["message"] == "took 3 s"
    assert line["level"] == "info"
    assert (line["action"], line["run_id"]) == ("run_finished", "42")
    assert str(line["time"]).endswith("+00:00")


def test_a_line_carries_the_ids_of_its_context() -> None:
    token = log_context.set({"request_id": "r1"})
    try:
        assert formatted()["request_id"] == "r1"
    finally:
        log_context.reset(token)


def test_an_exception_stays_in_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        line = formatted(exc_info=sys.exc_info())
    assert "ValueError: two" in str(line["exception"])


def test_what_json_does_not_know_becomes_text() -> None:
    assert formatted(what={1, 2}.__class__)["what"] == "<class 'set'>"


@pytest.mark.django_db
def test_every_answer_names_its_request(client: Client) -> None:
    assert client.get("/health/live", headers={"x-request-id": "abc-1"})["X-Request-ID"] == "abc-1"


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["a b", "x" * 65, "", "<script>"])
def test_a_request_id_that_is_none_is_replaced(client: Client, given: str) -> None:
    answered = client.get("/health/live", headers={"x-request-id": given})["X-Request-ID"]
    assert answered != given
    assert len(answered) == 32


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    line = formatted("x" * 10_000, given=[{"path": "y" * 10_000}])

    assert line["message"] == "x" * 4_000 + "… [6000 characters left out]"
    assert "6000 characters left out" in str(line["given"])


def test_a_secret_that_the_cut_would_halve_is_left_out() -> None:
    line = formatted("x" * 3_979 + " ghp_" + "a1" * 18)

    assert line["message"] == "x" * 3_979 + " … [40 characters left out]"
