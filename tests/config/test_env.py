"""Wrong values are refused at the start, by name, in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def manage(command: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    ours = {"COUNTERSIGN_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings", **env}
    given = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    argv = [sys.executable, str(ROOT / "manage.py"), command]
    return subprocess.run(
        argv, env={**given, **ours}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("COUNTERSIGN_TIME_ZONE", "Mars", "no time zone such as Europe/Berlin"),
        ("COUNTERSIGN_LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR"),
        ("OPENAI_BASE_URL", "localhost:11434", "must begin with http:// or https://"),
        ("COUNTERSIGN_RUN_LEASE", "5", "at least twice COUNTERSIGN_RUN_HEARTBEAT=3"),
        ("COUNTERSIGN_STAFF_TOTP", "sometimes", "one of off, optional, required"),
        ("COUNTERSIGN_PASSWORD_SIGN_IN", "superusers", "set COUNTERSIGN_OIDC_ISSUER first"),
        ("COUNTERSIGN_WHEN_WAITING", "perhaps", "one of refuse, queue, withdraw"),
        ("COUNTERSIGN_RUN_STEP_LIMIT", "many", "a whole number"),
        ("COUNTERSIGN_DEBUG", "maybe", "true or false"),
        ("COUNTERSIGN_MODEL_PRICES", "gpt-5-mini=cheap", "no list such as gpt-5-mini=0.25/0.025/2.00"),
        ("COUNTERSIGN_MODEL_PRICES", "gpt-5-mini=0.25/2", "no list such as gpt-5-mini=0.25/0.025/2.00"),
        ("COUNTERSIGN_MODEL_PRICES", "gpt-5-mini=1/1/-1", "no list such as gpt-5-mini=0.25/0.025/2.00"),
    ],
)
def test_a_wrong_value_names_itself(tmp_path: Path, name: str, value: str, says: str) -> None:
    refused = manage("check", tmp_path, **{name: value})

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"countersign: {name}=")
    assert says in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_level_may_be_written_small(tmp_path: Path) -> None:
    assert manage("check", tmp_path, COUNTERSIGN_LOG_LEVEL="debug").returncode == 0


def test_a_command_without_a_database_says_what_to_do(tmp_path: Path) -> None:
    refused = manage("reconcile", tmp_path)

    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"countersign: No database answers in {tmp_path}.")


def test_a_database_of_ones_own_needs_a_key_of_ones_own(tmp_path: Path) -> None:
    database = {"DATABASE_URL": "postgres://localhost/x", "REDIS_URL": "redis://localhost"}

    refused = manage("check", tmp_path, COUNTERSIGN_SECRET_KEY="", **database)

    assert refused.returncode == 1
    assert "COUNTERSIGN_SECRET_KEY is needed" in refused.stderr
    assert manage("check", tmp_path, COUNTERSIGN_SECRET_KEY="a" * 60, **database).returncode == 0


def test_debug_pages_are_for_one_s_own_machine(tmp_path: Path) -> None:
    refused = manage("check", tmp_path, COUNTERSIGN_DEBUG="1", COUNTERSIGN_ALLOWED_HOSTS="chat.example.com")

    assert refused.returncode == 1
    assert "COUNTERSIGN_DEBUG shows code and settings" in refused.stderr
    assert manage("check", tmp_path, COUNTERSIGN_DEBUG="1").returncode == 0
