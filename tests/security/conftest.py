"""The people, calls and programs of the other folders' tests."""

from __future__ import annotations

from tests.approvals.conftest import (  # noqa: F401  (fixtures)
    away,
    ben,
    cut_off,
    finance,
    frank,
    proposed,
    rule,
    static_root,
    threads_closed,
    waiting,
)
from tests.chat.conftest import alices, empty_redis, worker  # noqa: F401
