"""The data folder and the addresses of the servers in it. Standard library only: settings import this.

postgres/      the database cluster         secret-key      signs sessions, mode 0600
redis/         Valkey's append-only file    demo-password   of the demo accounts, mode 0600
log/           <name>.log of each process   up.lock up.pid  who runs on this folder
run/           unix sockets                 mail/           what would have been sent
audit-key.pem  signs exports, mode 0600     audit-anchor.jsonl  heads of the audit's chain
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from embedded.exceptions import FolderUnusable

SOCKET_PATH_MAX = 103  # bytes; sockaddr_un holds 107 on Linux, 103 on macOS
POSTGRES_SOCKET = ".s.PGSQL.5432"  # PostgreSQL's own name for it
REDIS_SOCKET = "redis.sock"

# A comma or a quote in a socket folder means something to libpq, and odd bytes to URL parsers.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/+-]+")


def postgres_dir(home: Path) -> Path:
    return home / "postgres"


def redis_dir(home: Path) -> Path:
    return home / "redis"


def log_dir(home: Path) -> Path:
    return home / "log"


def mail_dir(home: Path) -> Path:
    return home / "mail"


def run_dir(home: Path) -> Path:
    """Where the sockets are: `<home>/run`, or a short one in /tmp where that fits no socket address."""
    inside = home / "run"
    if _fits(inside):
        return inside
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"countersign-{os.getuid()}-{digest}"


def _fits(folder: Path) -> bool:
    longest = os.fsencode(folder / POSTGRES_SOCKET)
    return len(longest) <= SOCKET_PATH_MAX and _PLAIN_PATH.fullmatch(str(folder)) is not None


def database_url(home: Path) -> str:
    """A libpq URI of the embedded database; the socket folder is the host, percent-encoded."""
    return f"postgres://countersign@{quote(str(run_dir(home)), safe='')}/countersign"


def redis_url(home: Path) -> str:
    return f"unix://{quote(str(run_dir(home) / REDIS_SOCKET))}?db=0"


def secret_key(home: Path) -> str:
    """The key kept in the data folder; made on first use."""
    return _kept(home / "secret-key", secrets.token_urlsafe(50))


def demo_password(home: Path) -> str:
    """COUNTERSIGN_DEMO_PASSWORD, else a random one, the same for the life of the data folder."""
    return os.environ.get("COUNTERSIGN_DEMO_PASSWORD") or _kept(
        home / "demo-password", secrets.token_urlsafe(9)
    )


def make_layout(home: Path) -> None:
    """Make the folders that are missing. EmbeddedError when one can't be made or is not ours alone."""
    for folder in (home, log_dir(home), mail_dir(home), redis_dir(home), run_dir(home)):
        make_private(folder)
    if not os.access(home, os.W_OK | os.X_OK):
        raise FolderUnusable(home, "not writable")


def make_private(folder: Path) -> None:
    """Make `folder` with mode 0700. One that another user made under a guessable name in /tmp is refused."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise FolderUnusable(folder, error.strerror) from error
    if os.getuid() not in (0, status.st_uid):
        raise FolderUnusable(folder, "it belongs to another user")


def _kept(path: Path, new: str) -> str:
    """The file's text. Of several first callers one writes, atomically, and all read the same."""
    try:
        if not path.exists():
            make_private(path.parent)
            _write_once(path, new)
        return path.read_text().strip()
    except OSError as error:
        raise FolderUnusable(path, error.strerror) from error


def _write_once(path: Path, text: str) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{text}\n")
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
