"""The web server's command line; on SIGUSR1 it writes the names of its loaded modules to $WITNESS.

$CONSTANTS, such as "config.unfinished.AT_MOST=9", sets what is a constant otherwise.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType

from config.server import main


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
    set_constants()
    signal.signal(signal.SIGUSR1, testify)
    main()
