"""Asks for known holes in the locked versions: `make audit`, which runs this with pip-audit's own environment.

Ends with 0: asked about each, none is known. 1: some are. 2: not about all of them could be asked. pip-audit itself
says "No known vulnerabilities found" of a package that its service does not know, and so of all of them behind a
mirror that has no advisories. (make ends with 2 whatever went wrong: its last line but one says which.)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOCKED = ("base", "dev", "bench", "conformance", "audit")
NONE, FOUND, NOT_ASKED = 0, 1, 2
SAID = {
    NONE: "No known holes.",
    FOUND: "THERE ARE KNOWN HOLES. Lock newer versions: make lock ARGS=--upgrade",
    NOT_ASKED: "NOT ASKED about everything: this says nothing about holes. Run it where the service can be reached.",
}
SHOWN = 5  # reasons; there are as many as packages


def main(options: list[str]) -> int:
    worst = NONE
    for kind in LOCKED:
        code, lines = ask(kind, options)
        print(f"requirements/{kind}.txt", *lines, sep="\n  ")
        worst = FOUND if FOUND in (code, worst) else max(code, worst)
    print(SAID[worst])
    return worst


def ask(kind: str, options: list[str]) -> tuple[int, list[str]]:
    """What the service knows of one lock file, and what to say of it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        audit = [sys.executable, "-m", "pip_audit", "--requirement", str(HERE / f"{kind}.txt")]
        audit += ["--require-hashes", "--disable-pip", "--progress-spinner", "off"]
        audit += ["--format", "json", "--output", str(report), *options]
        done = subprocess.run(audit, capture_output=True, text=True, check=False)
        if not report.exists() or not report.read_text().strip():
            said = done.stderr.strip().splitlines()
            return NOT_ASKED, [
                "The advisory service could not be asked: " + (said[-1] if said else "no answer")
            ]
        return judged(json.loads(report.read_text()))


def judged(report: dict[str, Any]) -> tuple[int, list[str]]:
    packages = report["dependencies"]
    asked = [each for each in packages if "skip_reason" not in each]
    skipped = [each["skip_reason"] for each in packages if "skip_reason" in each]
    holes = [f"{each['name']} {each['version']}: {told(hole)}" for each in asked for hole in each["vulns"]]
    missing = [f"Not asked about {len(skipped)} of {len(packages)}:", *skipped[:SHOWN]] if skipped else []
    if holes:
        return FOUND, [*holes, *missing]
    if missing or not packages:
        return NOT_ASKED, missing or ["No package was found in it."]
    return NONE, [f"{len(asked)} packages, no known hole."]


def told(hole: dict[str, Any]) -> str:
    mended = ", ".join(hole.get("fix_versions") or []) or "no version yet"
    return f"{hole['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
