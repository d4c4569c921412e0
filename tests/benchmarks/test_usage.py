"""What processes cost, read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks import usage
from tests.support.processes import line_of

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"


def burning() -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BURN]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_childs_time_counts_while_it_runs_and_after() -> None:
    meter = usage.Meter({"tests": os.getpid()})
    with burning() as child:
        line_of(child)
        while_it_runs = meter.cpu()["tests"]
        child.communicate("\n", timeout=10)

    assert while_it_runs >= 0.28
    assert meter.cpu()["tests"] >= 0.28


def test_memory_is_the_highest_seen() -> None:
    meter = usage.Meter({"tests": os.getpid(), "other": 1}, weighed=["tests"])
    meter.look()

    assert meter.memory().keys() == {"tests"}
    assert meter.memory()["tests"] > 10_000_000


def test_time_of_others_is_not_ours() -> None:
    meter = usage.Meter({"tests": os.getpid()})
    with burning() as child:
        time.sleep(0.5)
        child.communicate("\n", timeout=10)

    assert meter.others() >= -0.05
    assert os.getpid() in usage.tree(os.getpid())
