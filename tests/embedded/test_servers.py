"""Real servers, as whoever runs the tests: root too."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest
import redis
from embedded import paths
from embedded.exceptions import DidNotStart, EmbeddedError
from embedded.postgres import Postgres
from embedded.valkey import Valkey


def test_postgres_keeps_rows_over_restart_and_crash(own_postgres: Postgres, home: Path) -> None:
    own_postgres.start()
    with psycopg.connect(paths.database_url(home)) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('restart'), ('crash')")

    own_postgres.restart()
    own_postgres.restart(immediate=True)

    with psycopg.connect(paths.database_url(home)) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("restart",), ("crash",)]
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (False,)
    own_postgres.stop()
    assert not own_postgres.is_ready()
    assert own_postgres.process.exit_code == 0


def test_postgres_starts_on_a_lock_that_a_dead_run_left(own_postgres: Postgres) -> None:
    own_postgres.start()
    own_postgres.process.kill()
    lock = own_postgres.data_dir / "postmaster.pid"
    # As after a restart of a container: another process has the number now.
    lock.write_text("\n".join([str(os.getpid()), *lock.read_text().splitlines()[1:]]))

    own_postgres.start()

    assert own_postgres.is_ready()


def test_postgres_serves_a_home_with_a_long_path(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 20)
    paths.make_layout(home)
    server = Postgres(paths.postgres_dir(home), paths.run_dir(home), fsync=False)
    try:
        server.start()
        psycopg.connect(paths.database_url(home)).close()
    finally:
        server.stop()
        paths.run_dir(home).rmdir()


def test_half_a_cluster_is_made_anew(own_postgres: Postgres, home: Path) -> None:
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "half").write_text("")

    own_postgres.prepare()

    assert not (home / "postgres.new").exists()
    assert not (home / "postgres" / "half").exists()


def test_it_refuses_a_folder_that_is_no_cluster(own_postgres: Postgres, home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "holiday.jpg").write_text("")

    with pytest.raises(EmbeddedError, match=r"is not a PostgreSQL data folder\. Move it away"):
        own_postgres.start()


def test_it_names_the_version_it_cannot_open(own_postgres: Postgres, home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "PG_VERSION").write_text("16\n")

    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 16, this is 18"):
        own_postgres.start()


def test_it_says_why_a_damaged_cluster_does_not_start(own_postgres: Postgres) -> None:
    own_postgres.prepare()
    (own_postgres.data_dir / "global" / "pg_control").unlink()

    with pytest.raises(DidNotStart, match=r"PostgreSQL did not start: .*pg_control.* \(log: "):
        own_postgres.start()


def test_valkey_keeps_keys_and_listens_on_its_socket_only(own_valkey: Valkey, home: Path) -> None:
    own_valkey.start()
    client = redis.Redis.from_url(paths.redis_url(home))
    client.set("kept", "yes")

    own_valkey.restart()

    assert client.get("kept") == b"yes"
    assert client.config_get("port") == {"port": "0"}
    client.close()
    own_valkey.stop()
    assert not own_valkey.is_ready()


def test_valkey_comes_back_from_a_kill(own_valkey: Valkey) -> None:
    own_valkey.start()
    os.kill(own_valkey.process.pid, signal.SIGKILL)
    own_valkey.restart(immediate=True)

    assert own_valkey.is_ready()
