from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg.conninfo
import pytest
import redis
from embedded import paths
from embedded.exceptions import EmbeddedError


def test_sockets_are_in_the_home_when_their_address_fits() -> None:
    assert paths.run_dir(Path("/srv/countersign")) == Path("/srv/countersign/run")


@pytest.mark.parametrize("home", ["/srv/" + "long/" * 25, "/srv/a,b", "/srv/with space", "/srv/目录"])
def test_an_address_that_does_not_fit_gets_a_short_folder_of_its_own(home: str) -> None:
    short = paths.run_dir(Path(home))

    assert short.parent == Path(tempfile.gettempdir())
    assert short == paths.run_dir(Path(home)), "the same home, the same folder"
    assert short != paths.run_dir(Path(home + "x"))
    assert len(os.fsencode(short / paths.POSTGRES_SOCKET)) <= paths.SOCKET_PATH_MAX


def test_database_url_is_what_libpq_reads() -> None:
    parameters = psycopg.conninfo.conninfo_to_dict(paths.database_url(Path("/srv/Home")))

    assert parameters == {"user": "countersign", "dbname": "countersign", "host": "/srv/Home/run"}


def test_redis_url_is_what_redis_py_reads() -> None:
    pool = redis.ConnectionPool.from_url(paths.redis_url(Path("/srv/Home")))

    assert pool.connection_kwargs["path"] == "/srv/Home/run/redis.sock"


def test_secret_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    key = paths.secret_key(home)

    assert len(key) >= 50
    assert paths.secret_key(home) == key
    assert (home / "secret-key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in home.iterdir()] == ["secret-key"], "no draft is left"


def test_many_first_callers_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(paths.secret_key, [tmp_path] * 64))

    assert len(keys) == 1


def test_demo_password_is_the_given_one_or_a_kept_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COUNTERSIGN_DEMO_PASSWORD", raising=False)
    kept = paths.demo_password(tmp_path)
    assert paths.demo_password(tmp_path) == kept

    monkeypatch.setenv("COUNTERSIGN_DEMO_PASSWORD", "given")
    assert paths.demo_password(tmp_path) == "given"
    assert (tmp_path / "demo-password").read_text().strip() == kept


def test_folders_are_for_their_owner_only(home: Path) -> None:
    assert {folder.stat().st_mode & 0o777 for folder in home.iterdir()} == {0o700}
    assert paths.mail_dir(home).is_dir()


def test_it_names_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(EmbeddedError, match=r"file/home: Not a directory\. Set COUNTERSIGN_HOME"):
        paths.make_layout(tmp_path / "file" / "home")
