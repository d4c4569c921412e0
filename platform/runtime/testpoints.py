"""Named places where a test may kill or freeze this very process, to see that nothing is lost or done twice.

Armed by COUNTERSIGN_TESTPOINT=<name>[:<pass>[:<signal>]], as "after_effect:3" or "before_effect:1:SIGSTOP"; without
it, each place costs one comparison.
"""

from __future__ import annotations

import os
import signal
from itertools import count

_ARMED, _, _HOW = os.environ.get("COUNTERSIGN_TESTPOINT", "").partition(":")
_PASS, _, _SIGNAL = _HOW.partition(":")
_passes = count(1)


def testpoint(name: str) -> None:
    if name == _ARMED and next(_passes) == int(_PASS or 1):
        os.kill(os.getpid(), signal.Signals[_SIGNAL or "SIGKILL"])
