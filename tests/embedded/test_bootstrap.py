"""The bootstrap script in a copy of its own; no network."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bootstrap(tmp_path: Path) -> ModuleType:
    """bootstrap.py of a clone without .venv."""
    shutil.copy(ROOT / "bootstrap.py", tmp_path)
    (tmp_path / "requirements").mkdir()
    for kind in ("base", "dev", "bench", "conformance"):
        (tmp_path / "requirements" / f"{kind}.txt").write_text(f"{kind}==1.0\n")
    spec = importlib.util.spec_from_file_location("bootstrap_copy", tmp_path / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def installs(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was installed, in order; each "install" leaves a virtual environment whose python is `echo`."""
    made: list[str] = []

    def install(kind: str, venv: Path = bootstrap.VENV) -> None:
        made.append(kind)
        python = bootstrap.python_of(venv)
        python.parent.mkdir(parents=True, exist_ok=True)
        if not python.exists():
            python.write_text('#!/bin/sh\necho started "$@"\n')
            python.chmod(0o755)

    monkeypatch.setattr(bootstrap, "install", install)
    return made


def test_it_installs_once(bootstrap: ModuleType, installs: list[str]) -> None:
    for _ in range(3):
        bootstrap.set_up(dev=False)

    assert installs == ["base"]


def test_changed_requirements_are_installed(bootstrap: ModuleType, installs: list[str]) -> None:
    bootstrap.set_up(dev=False)
    bootstrap.requirements("base").write_text("base==1.1\n")
    bootstrap.set_up(dev=False)

    assert installs == ["base", "base"]


def test_run_does_not_take_the_tools_away(bootstrap: ModuleType, installs: list[str]) -> None:
    bootstrap.set_up(dev=True)
    bootstrap.set_up(dev=False)
    bootstrap.requirements("base").write_text("base==1.1\n")
    bootstrap.set_up(dev=False)

    assert installs == ["dev", "dev"]


@pytest.mark.parametrize("kind", ["bench", "conformance"])
def test_what_one_verb_needs_is_kept_apart(bootstrap: ModuleType, installs: list[str], kind: str) -> None:
    bootstrap.set_up(dev=True)
    for _ in range(2):
        bootstrap.set_up_beside(kind)
    bootstrap.set_up(dev=True)

    assert installs == ["dev", kind]
    assert bootstrap.read_stamp().keys() == {"base", "dev"}
    assert bootstrap.read_stamp(bootstrap.VENVS_BESIDE[kind]).keys() == {kind}


def test_the_compared_design_runs_the_same_libraries() -> None:
    ours, theirs = (pins(kind) for kind in ("base", "bench"))
    shared = [
        name for name in theirs if name.startswith(("langgraph", "langchain", "openai", "psycopg", "redis"))
    ]

    assert len(shared) >= 8
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


def pins(kind: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{kind}.txt").read_text().splitlines()
    found = (line.split()[0].partition("==") for line in lines if "==" in line.split(" ")[0])
    return {name: version for name, _, version in found}


@pytest.mark.parametrize("damage", ["no python", "no stamp", "half a stamp"])
def test_a_damaged_environment_is_made_again(bootstrap: ModuleType, installs: list[str], damage: str) -> None:
    bootstrap.set_up(dev=False)
    if damage == "no python":
        bootstrap.VENV_PYTHON.unlink()
    if damage == "no stamp":
        bootstrap.STAMP.unlink()
    if damage == "half a stamp":
        bootstrap.STAMP.write_text(json.dumps({"base": "x"})[:5])
    bootstrap.set_up(dev=False)

    assert installs == ["base", "base"]


def test_a_failed_install_leaves_no_stamp(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(kind: str) -> None:
        raise bootstrap.Failure("no")

    monkeypatch.setattr(bootstrap, "install", fail)
    with pytest.raises(bootstrap.Failure):
        bootstrap.set_up(dev=False)

    assert not bootstrap.STAMP.exists()


def test_run_becomes_manage_py_up(bootstrap: ModuleType, installs: list[str], tmp_path: Path) -> None:
    bootstrap.set_up(dev=False)
    done = subprocess.run(
        [sys.executable, tmp_path / "bootstrap.py", "run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "started manage.py up\n"


def test_an_unreachable_index_is_one_line(bootstrap: ModuleType, tmp_path: Path) -> None:
    python = getattr(sys, "_base_executable", sys.executable)  # .venv's own has no pip
    has_pip = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, timeout=60, check=False)
    if has_pip.returncode:
        pytest.skip(f"{python} has no pip")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    closed = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    done = subprocess.run(
        [python, tmp_path / "bootstrap.py", "setup"],
        env={**environment, **closed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == (
        "countersign: Cannot reach the package index. Offline? Set PIP_INDEX_URL or PIP_FIND_LINKS.\n"
    )


def test_pip_settings_become_those_of_uv(bootstrap: ModuleType) -> None:
    listing = (
        ":env:.find-links='/wheels /more'\n"
        "global.find-links='/other'\n"
        "global.index-url='https://index.invalid/simple'\n"
        "install.no-index='1'\n"
    )
    options = bootstrap.pip_options(listing)

    assert options == {
        "find-links": "/wheels /more",
        "index-url": "https://index.invalid/simple",
        "no-index": "1",
    }
    assert bootstrap.as_uv_value("find-links", options["find-links"]) == "/wheels,/more"


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full."),
        ("error: failed to create file: Permission denied (os error 13)", "can't be written."),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "A package is not the file"),
        ("something\nelse\n", "else (all of it: "),
    ],
)
def test_what_a_tool_says_becomes_a_line(bootstrap: ModuleType, output: str, line: str) -> None:
    assert line in bootstrap.cause(output)


def test_an_old_python_gets_a_sentence(tmp_path: Path) -> None:
    source = (ROOT / "bootstrap.py").read_text()
    ast.parse(source, feature_version=(3, 6))
    (tmp_path / "old.py").write_text(f"import sys\nsys.version_info = (3, 9, 2)\n{source}")
    done = subprocess.run(
        [sys.executable, tmp_path / "old.py", "run"], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("countersign: Python 3.11 or newer is needed; this is 3.9.2.")
