"""Reports of browsers: logged, bounded, and nobody's secrets in them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db

REPORT = {
    "document-uri": "https://chat.example.com/threads/1/?key=sk-SECRET",
    "effective-directive": "script-src-elem",
    "blocked-uri": "https://evil.example/x.js?stolen=SECRET",
    "script-sample": "alert(SECRET)",
}


def post(body: Any, content_type: str = "application/csp-report", **headers: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps({"csp-report": body})
    return Client().post("/csp-report", text, content_type=content_type, **headers)


def test_a_report_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = post(REPORT)

    assert answer.status_code == 204
    (line,) = [record for record in caplog.records if getattr(record, "action", "") == "csp_violation"]
    told = vars(line)
    assert (told["page"], told["directive"]) == ("/threads/1/", "script-src-elem")
    assert told["blocked"] == "https://evil.example"
    assert "SECRET" not in str(told)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (REPORT, "application/json"),
        ("{", "application/csp-report"),
        ("[]", "application/csp-report"),
        ('{"csp-report": "x"}', "application/csp-report"),
        ("[" * 100_000, "application/csp-report"),
        ({**REPORT, "script-sample": "x" * 20_000}, "application/csp-report"),
    ],
)
def test_what_is_no_report_is_refused(body: Any, content_type: str, caplog: pytest.LogCaptureFixture) -> None:
    assert post(body, content_type).status_code == 400
    assert not [record for record in caplog.records if getattr(record, "action", "") == "csp_violation"]


def test_nobody_reads_it_by_getting() -> None:
    assert Client().get("/csp-report").status_code == 405


def test_a_flood_of_them_is_turned_away() -> None:
    codes = [post(REPORT, REMOTE_ADDR="198.51.100.77").status_code for _ in range(61)]

    assert (codes[:60], codes[60]) == ([204] * 60, 429)
    assert post(REPORT, REMOTE_ADDR="198.51.100.78").status_code == 204


def test_the_policy_names_it() -> None:
    assert "report-uri /csp-report" in Client().get("/accounts/login/")["Content-Security-Policy"]
