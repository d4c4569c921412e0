from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from runtime import audit
from runtime.audit import chain, signing
from runtime.audit.verify_export import Broken, check_file
from runtime.invariants import one_moment


class Command(BaseCommand):
    help = (
        "Check that nobody changed, removed or reordered an audit event since it was written, up to the chain's head "
        "and through every anchor. Names the first event that is wrong and exits with 1. The result is an audit event."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--file", type=Path, metavar="EXPORT", help="check an export instead of the database"
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, *, file: Path | None, as_json: bool, **_: Any) -> None:
        problem: Broken | None = None
        seq = 0
        try:
            seq = _check_export(file) if file else _check_database()
        except Broken as broken:
            problem, seq = broken, broken.seq
        if file is None:
            _record(seq, problem)
        self._say(seq, problem, as_json=as_json)
        if problem:
            sys.exit(1)

    def _say(self, seq: int, problem: Broken | None, *, as_json: bool) -> None:
        if as_json:
            kind = problem.kind if problem else None
            told = {"holds": problem is None, "seq": seq, "kind": kind, "problem": str(problem or "")}
            self.stdout.write(json.dumps(told))
        else:
            self.stdout.write(str(problem) if problem else f"The chain holds, to event {seq}.")


def _check_database() -> int:
    with one_moment():
        return chain.check().seq


def _check_export(file: Path) -> int:
    try:
        with file.open(encoding="utf-8", newline="\n") as lines:
            return int(check_file(lines, signing.public_key().encode())["seq"])
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} can't be read: {error}") from error


def _record(seq: int, problem: Broken | None) -> None:
    """So that people see in the admin when the chain was last looked at, and what was found."""
    after = {"holds": problem is None, "seq": seq, "problem": str(problem or "")}
    audit.append("audit.verified", subject=("audit", ""), after=after)
