"""Named places where a test may kill this very process, to see that nothing is lost or done twice.

Armed by COUNTERSIGN_TESTPOINT=<name>; without it, each place costs one comparison.
"""

from __future__ import annotations

import os
import signal

_ARMED = os.environ.get("COUNTERSIGN_TESTPOINT", "")


def testpoint(name: str) -> None:
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
