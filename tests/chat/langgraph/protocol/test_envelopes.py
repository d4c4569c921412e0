"""Where an event stands, and who wants it."""

from __future__ import annotations

import pytest

from apps.chat.langgraph.protocol import envelopes
from apps.chat.langgraph.protocol.envelopes import EACH, Subscription, event, numbered, seq_from, seq_of

MAX_SAFE_INTEGER = 2**53 - 1  # of JavaScript
LATE = 3_900_000_000_000  # milliseconds: in 2093


def test_places_grow_within_an_entry_within_a_log_and_from_log_to_log() -> None:
    ids = ["1795329948389-1", "1795329948389-2", "1795329948389-20000", "1795329950000-1"]

    places = [seq_of(id, n) for id in ids for n in (0, 1, EACH - 1)]

    assert places == sorted(set(places))
    assert seq_of(f"{LATE}-20000") < MAX_SAFE_INTEGER


def test_an_event_is_found_again_by_its_id_and_by_its_number() -> None:
    told = [event("values", {}) for _ in range(300)] + [event("lifecycle", {"event": "completed"})]

    found = numbered("1795329948389-7", told)

    assert len({each["event_id"] for each in found}) == len(found)
    assert [each["seq"] for each in found] == sorted(each["seq"] for each in found)
    for each in found:
        assert seq_from(each["event_id"]) == seq_from(str(each["seq"])) == each["seq"]


def test_the_end_of_a_run_has_the_same_place_whatever_comes_before_it() -> None:
    end = event("lifecycle", {"event": "completed"})

    long, short = numbered("1-7", [event("values", {}), end]), numbered("1-7", [end])

    assert (long[-1]["event_id"], long[-1]["seq"]) == (short[-1]["event_id"], short[-1]["seq"])


@pytest.mark.parametrize("text", ["", "-1", "x", "1-2", "1-2.x", "x.1", "٣", "1-x.2"])
def test_what_is_no_place_is_none(text: str) -> None:
    assert seq_from(text) is None


@pytest.mark.parametrize(
    ("channels", "told", "takes"),
    [
        (["custom"], event("custom", {"name": "a", "payload": 1}), True),
        (["custom:a"], event("custom", {"name": "a", "payload": 1}), True),
        (["custom:b"], event("custom", {"name": "a", "payload": 1}), False),
        (["custom:a"], event("custom", {"payload": 1}), False),
        (["input"], event("input.requested", {}), True),
        (["values"], event("updates", {}), False),
    ],
)
def test_a_channel_is_by_its_name(channels: list[str], told: envelopes.Json, takes: bool) -> None:
    assert Subscription(channels=channels).takes(told) is takes
