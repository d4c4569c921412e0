"""What `manage.py up` refuses, in one line each; and the lock and the port behind it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded import lock, paths, ports
from embedded.address import Address
from embedded.exceptions import AlreadyRunning, EmbeddedError

ROOT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:8000/"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def up(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py up` on `home`, for what ends by itself."""
    foreign = ("DATABASE_URL", "REDIS_URL", "HOST", "DJANGO_SETTINGS_MODULE")
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    return subprocess.run(
        [sys.executable, "manage.py", "up"],
        env={**environment, "COUNTERSIGN_HOME": str(home), "PORT": str(ports.free_port()), **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_run_names_the_first_and_leaves_it_alone(home: Path) -> None:
    with lock.only_one(home, URL):
        second = up(home)

        assert second.returncode == 1
        assert second.stderr == f"Countersign is already running (pid {os.getpid()}): {URL}\n"
        assert (home / "up.pid").exists()


def test_it_names_the_process_that_has_the_port(home: Path, taken_port: int) -> None:
    refused = up(home, PORT=str(taken_port))

    assert refused.returncode == 1
    assert f"Port {taken_port} is used by " in refused.stderr
    assert f"(pid {os.getpid()}). Try: make run PORT={taken_port + 1}" in refused.stderr


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"PORT": "eighty"},
            "countersign: PORT='eighty' is not a port number (1 to 65535). Correct it or unset it.\n",
        ),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "countersign: REDIS_URL: "),
    ],
)
def test_a_wrong_value_is_one_line(home: Path, variables: dict[str, str], line: str) -> None:
    refused = up(home, **variables)

    assert refused.returncode == 1
    assert refused.stderr.startswith(line)
    assert refused.stderr.count("\n") == 1


def test_a_broken_data_folder_is_one_line(home: Path) -> None:
    paths.postgres_dir(home).mkdir()
    (paths.postgres_dir(home) / "holiday.jpg").write_text("")

    refused = up(home)

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"countersign: {home}/postgres is not a PostgreSQL data folder.")
    assert not (home / "up.pid").exists()


def test_a_lock_without_a_living_owner_is_taken_over(home: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    (home / "up.pid").write_text(f"{dead.pid} {URL}\n")

    with lock.only_one(home, URL):
        assert (home / "up.pid").read_text() == f"{os.getpid()} {URL}\n"


def test_a_new_run_waits_for_the_children_of_a_killed_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEFTOVERS_WITHIN", 0.2)
    descriptor = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT)
    assert lock._try_lock(descriptor)
    with subprocess.Popen(["sleep", "60"], pass_fds=[descriptor]) as child:
        os.close(descriptor)
        with (
            pytest.raises(EmbeddedError, match="Processes of an earlier run still hold"),
            lock.only_one(home, URL),
        ):
            pass
        child.kill()

    with lock.only_one(home, URL):
        pass


def test_the_lock_is_one_per_data_folder(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    paths.make_layout(other)
    with (
        lock.only_one(home, URL),
        lock.only_one(other, URL),
        pytest.raises(AlreadyRunning),
        lock.only_one(home, URL),
    ):
        pass


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
    ],
)
def test_only_loopback_counts_as_this_machine(host: str, is_loopback: bool) -> None:
    assert Address(host, 8000).is_loopback is is_loopback


def test_a_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(EmbeddedError, match=r"HOST=192\.0\.2\.1 can't be listened on"):
        ports.check_free("192.0.2.1", ports.free_port())
