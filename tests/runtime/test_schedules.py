from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from runtime.schedules import BadSchedule, next_time


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(schedule: str, timezone: str, after: str, count: int) -> list[str]:
    found, last = [], at(after)
    for _ in range(count):
        last = next_time(schedule, timezone, last)
        found.append(last.strftime("%m-%d %H:%M"))
    return found


def test_a_time_is_strictly_after() -> None:
    assert times("*/15 * * * *", "", "2026-11-22T10:00", 3) == ["11-22 10:15", "11-22 10:30", "11-22 10:45"]
    assert times("0 9 * * 1-5", "", "2026-11-20T09:00", 2) == ["11-23 09:00", "11-24 09:00"]


def test_it_is_of_the_clock_on_a_wall_there() -> None:
    # The clocks go on at the end of March: 09:00 there is an hour earlier in UTC.
    assert times("0 9 * * *", "Europe/Berlin", "2026-03-27T09:00", 3) == [
        "03-28 08:00",
        "03-29 07:00",
        "03-30 07:00",
    ]


def test_what_the_clocks_leave_out_is_due_and_what_comes_twice_is_due_once() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == ["03-29 01:30", "03-30 00:30"]
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]


def test_every_minute_goes_on_through_the_hour_that_comes_twice() -> None:
    found = last = at("2026-10-24T23:59")
    for _ in range(300):
        found = next_time("* * * * *", "Europe/Berlin", last)
        assert timedelta(0) < found - last <= timedelta(minutes=61)
        last = found


@pytest.mark.parametrize(
    ("schedule", "timezone"),
    [
        ("", ""),
        ("* * * *", ""),
        ("* * * * * *", ""),
        ("@daily", ""),
        ("60 * * * *", ""),
        ("R * * * *", ""),
        ("H * * * *", ""),
        ("0 0 30 2 *", ""),  # never
        ("nonsense a b c d", ""),
        ("* * * * *", "Europe/Nowhere"),
        ("* * * * *", "../../etc/passwd"),
        ("* * * * *", "/etc/localtime"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule: str, timezone: str) -> None:
    with pytest.raises(BadSchedule):
        next_time(schedule, timezone, at("2026-11-22T10:00"))
