"""`manage.py up`: everything on this machine, under one supervisor."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper

from embedded import paths, ports, screen
from embedded.address import Address
from embedded.exceptions import AlreadyRunning, EmbeddedError
from embedded.lock import only_one
from embedded.stack import Stack
from embedded.supervisor import Stopped, Supervisor, stopping_on_signals

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Run database, Redis, web and workers on this machine. Ctrl-C stops them; the data stays."
    requires_system_checks: list[str] = []  # the web process checks; here they would cost a second

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop. Whatever goes wrong is one line on stderr and exit code 1."""
        home = Path(settings.HOME)
        try:
            with stopping_on_signals():
                run(home)
        except (Stopped, KeyboardInterrupt):
            print(f"Stopped. The data is kept in {home}.", flush=True)
        except AlreadyRunning as error:
            sys.exit(str(error))
        except (EmbeddedError, CommandError, ImproperlyConfigured) as error:
            sys.exit(f"countersign: {error}")
        except Exception as error:
            logger.exception("up failed", extra={"action": "up_failed"})
            sys.exit(f"countersign: {explain(error)}")


def run(home: Path) -> None:
    """Start everything, say how to use it, and watch it until Stopped."""
    address = Address.from_environment()
    paths.make_layout(home)
    log_to_file(paths.log_dir(home) / "up.log")
    with only_one(home, address.url) as lock:
        ports.check_free(address.host, address.port)
        supervisor = Supervisor(say=lambda line: print(line, flush=True))
        try:
            bring_up(Stack(home, address, supervisor, lock))
            supervisor.watch()
        finally:
            supervisor.stop()


def bring_up(stack: Stack) -> None:
    steps = screen.Steps(total=4)
    stack.begin_programs()
    with steps.step(screen.servers_line(stack)):
        stack.start_servers()
    with steps.step("migrations"):
        call_command("migrate", interactive=False, verbosity=0)
    with steps.step("demo accounts and data" if stack.has_demo_accounts else "groups and rules"):
        seed(stack)
    with steps.step(screen.programs_line(stack)):
        stack.open_gate()
        not_ok = stack.wait_healthy()
    print(screen.summary(stack), flush=True)
    if not_ok:
        print(f"  Not all is well ({', '.join(not_ok)}): see {stack.address.url}health\n", flush=True)
    stack.start_followers()


def seed(stack: Stack) -> None:
    """Seed, with demo accounts only where nobody else can reach them; then let the database go."""
    if stack.has_demo_accounts:
        os.environ["COUNTERSIGN_DEMO_PASSWORD"] = paths.demo_password(stack.home)
    call_command("seed", demo=stack.has_demo_accounts, verbosity=0)
    connection.close()
    # Its threads would reconnect for as long as the supervisor lives.
    cast(DatabaseWrapper, connection).close_pool()


def log_to_file(path: Path) -> None:
    """Send this process's log to `path`: the screen is for people."""
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form, force=True)


def explain(error: Exception) -> str:
    """An error that nobody foresaw, as one line that says where to look."""
    if isinstance(error, DatabaseError):
        first = str(error).strip().splitlines() or [type(error).__name__]
        return f"The database refused: {first[0]}. Check DATABASE_URL, or log/postgres.log."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'The system'}: {error.strerror}. The log/up.log has the full text."
    return f"{type(error).__name__}: {error}. The log/up.log has the full text."
