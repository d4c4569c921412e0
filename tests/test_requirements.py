"""What is installed is what was locked: one version of each package, by its hashes. What `make audit` says of it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
LOCKED = sorted(REQUIREMENTS.glob("*.txt"))

PINNED = re.compile(r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==[0-9][^\s*;]*( ; [^\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(text: str) -> list[str]:
    """One requirement each, its hashes on the same line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [entry for entry in "\n".join(lines).replace("\\\n", " ").splitlines() if entry.strip()]


def loose(text: str) -> list[str]:
    """The requirements that leave something open."""
    found = []
    for entry in entries(text):
        requirement, *hashes = re.split(r"\s+(?=--hash)", entry.strip())
        is_exact = PINNED.fullmatch(requirement.strip())
        if not (is_exact and hashes and all(HASH.fullmatch(each.strip()) for each in hashes)):
            found.append(requirement.strip())
    return found


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.name)
def test_every_package_is_pinned_and_hashed(path: Path) -> None:
    assert len(entries(path.read_text())) == path.read_text().count("==") - path.read_text().count(" == ")
    assert loose(path.read_text()) == []


def test_every_list_is_locked() -> None:
    assert [path.stem for path in LOCKED] == sorted(path.stem for path in REQUIREMENTS.glob("*.in"))


@pytest.mark.parametrize(
    "entry",
    [
        "django==5.2.1",
        "django>=5.2 --hash=sha256:" + "0" * 64,
        "django==5.* --hash=sha256:" + "0" * 64,
        "django==5.2.1 --hash=md5:" + "0" * 32,
        "-e git+https://example.com/django.git",
        "--pre",
    ],
)
def test_what_leaves_something_open_is_found(entry: str) -> None:
    good = (REQUIREMENTS / "audit.txt").read_text()

    assert loose(good + entry + "\n") == [entry.split(" --hash")[0]]


def test_make_audit_asks_about_all_of_them() -> None:
    assert sorted(audit().LOCKED) == [path.stem for path in LOCKED]


ASKED = {"name": "django", "version": "5.2.1", "vulns": []}
HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["5.2.2"], "aliases": [], "description": ""}
SKIPPED = {"name": "rq", "skip_reason": "Dependency not found on PyPI and could not be audited: rq (2.12)"}


@pytest.mark.parametrize(
    ("packages", "code", "says"),
    [
        ([ASKED], 0, "1 packages, no known hole."),
        ([{**ASKED, "vulns": [HOLE]}], 1, "django 5.2.1: PYSEC-2026-1, mended in 5.2.2"),
        ([ASKED, SKIPPED], 2, "Not asked about 1 of 2:"),
        ([{**ASKED, "vulns": [HOLE]}, SKIPPED], 1, "django 5.2.1: PYSEC-2026-1, mended in 5.2.2"),
        ([], 2, "No package was found in it."),
    ],
)
def test_make_audit_tells_none_from_not_asked(packages: list[Any], code: int, says: str) -> None:
    found, lines = audit().judged({"dependencies": packages, "fixes": []})

    assert (found, lines[0]) == (code, says)


def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", REQUIREMENTS / "audit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
