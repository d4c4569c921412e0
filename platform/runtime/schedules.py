"""When a schedule of five fields is due next, in its time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterError
from django.utils.translation import gettext as _

from runtime.exceptions import RuntimeRefusal

FIELDS = 5
MAX_CHARS = 200


class BadSchedule(RuntimeRefusal):
    """Nobody can say when this is due. The message says why."""

    status = 422


def next_time(schedule: str, timezone: str, after: datetime) -> datetime:
    """The first moment strictly after `after`. Raises BadSchedule.

    A time that the clocks leave out is due when they have gone on; one that comes twice is due once.
    """
    zone = _zone(timezone)
    if len(schedule) > MAX_CHARS or len(schedule.split()) != FIELDS or _is_by_chance(schedule):
        raise BadSchedule(_("schedule: five fields, such as 0 9 * * 1-5."))
    try:
        # Naive, as the clock on a wall there shows it: croniter would count the hours of an offset instead.
        wall = croniter(schedule, after.astimezone(zone).replace(tzinfo=None))
        found = _moment(wall.get_next(datetime), zone)
        while found <= after:
            found = _moment(wall.get_next(datetime), zone)
    except (CroniterError, ValueError, OverflowError) as error:
        raise BadSchedule(_("schedule: %(why)s") % {"why": str(error)[:200]}) from error
    return found


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _is_by_chance(schedule: str) -> bool:
    """croniter's own extensions, of which each look would give another time."""
    return any(field[0] in "rRhH" for field in schedule.split())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSchedule(
            _("timezone: a name such as Europe/Berlin. There is no %(name)s.") % {"name": name[:64]}
        ) from error
