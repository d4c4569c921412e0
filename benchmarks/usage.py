"""What processes cost, from /proc: CPU time of whole trees, memory with shared pages counted once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # a second; the resolution of CPU times


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of its children, and of those children that have ended."""
    return sum(_ticks(each) for each in tree(pid)) / TICKS


def machine_seconds() -> float:
    """CPU time that the whole machine has been busy, what its host took from it included."""
    user, nice, system, _idle, _wait, irq, softirq, steal = _machine()
    return (user + nice + system + irq + softirq + steal) / TICKS


def _machine() -> list[int]:
    return [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process and its children: a page that n processes share counts for 1/n."""
    return sum(_pss(each) for each in tree(pid))


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    by_parent = defaultdict(list)
    for each, parent in _parents():
        by_parent[parent].append(each)
    found = [pid]
    for each in found:
        found += by_parent[each]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """(pid, pid of its parent) of every process; not every kernel lists a process's children."""
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields:
            yield int(folder.name), int(fields[1])


def command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _stat(pid: int) -> list[str]:
    """What follows the name in /proc/PID/stat; empty when the process is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _ticks(pid: int) -> int:
    return sum(map(int, _stat(pid)[11:15]))  # own user and system time, then that of reaped children


def _pss(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


class Meter:
    """CPU of named groups of processes since it was begun, and the highest memory of the `weighed` ones."""

    def __init__(self, groups: Mapping[str, int], *, weighed: Container[str] = ()) -> None:
        self._groups = groups
        self._before = self._cpu()
        self._machine_before = machine_seconds()
        self._peak = {name: 0 for name in groups if name in weighed}

    def look(self) -> None:
        """Takes the memory as it is now: call it from time to time. It costs the more the more they have."""
        for name in self._peak:
            self._peak[name] = max(self._peak[name], pss_bytes(self._groups[name]))

    def cpu(self) -> dict[str, float]:
        """Seconds by group."""
        return {name: seconds - self._before[name] for name, seconds in self._cpu().items()}

    def others(self) -> float:
        """CPU seconds of the machine that none of the groups used."""
        return machine_seconds() - self._machine_before - sum(self.cpu().values())

    def memory(self) -> dict[str, int]:
        """Bytes by group."""
        return dict(self._peak)

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._groups.items()}
