"""The web server's command line; on SIGUSR1 it writes the names of its loaded modules to $WITNESS.

$REMOVAL names a function of tests.support.removals to call first. $CONSTANTS, such as "config.unfinished.AT_MOST=9",
sets what is a constant otherwise.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType

from config.server import main

from tests.support import removals


def testify(signum: int, frame: FrameType | None) -> None:
    path = Path(os.environ["WITNESS"])
    draft = path.with_suffix(".draft")
    draft.write_text("\n".join(sorted(sys.modules)))
    draft.rename(path)


def set_constants() -> None:
    for each in os.environ.get("CONSTANTS", "").split():
        name, _, value = each.partition("=")
        module, _, constant = name.rpartition(".")
        assert hasattr(import_module(module), constant)
        setattr(import_module(module), constant, float(value))


if __name__ == "__main__":
    if os.environ.get("REMOVAL"):
        getattr(removals, os.environ["REMOVAL"])()
    set_constants()
    signal.signal(signal.SIGUSR1, testify)
    main()
