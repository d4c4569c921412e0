"""Real servers for the whole run, and the people every test knows.

alice and carol are chat users, bob approves, dave audits, olga operates, admin is the superuser.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from accounts import roles
from accounts.models import User
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.management.commands.flush import Command as FlushCommand
from django.db import connection
from django.test import Client
from django.utils import translation
from embedded import paths
from embedded.postgres import Postgres
from embedded.valkey import Valkey
from pytest_django import DjangoDbBlocker
from runtime import prices
from runtime.models import Assistant, Thread, assistant_id_for

from tests import settings as test_settings
from tests.support import emptying

pytest_plugins = ["tests.support.engines"]

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Whatever language another test's page was in."""
    with translation.override("en"):
        yield


@pytest.fixture(autouse=True)
def nothing_known_of_budgets() -> None:
    """Whatever was in force in another test, a moment ago."""
    prices.forget()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres(paths.postgres_dir(test_settings.HOME), paths.run_dir(test_settings.HOME), fsync=False)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(test_settings.HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    server = Valkey(paths.redis_dir(test_settings.HOME), paths.run_dir(test_settings.HOME))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: Postgres, valkey: Valkey) -> None:
    """Every test with a database has both servers."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        emptying.remember()
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        # A thread of the last test may still hold a connection, and the database could not be dropped.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )


@pytest.fixture(scope="session", autouse=True)
def empty_instead_of_flush() -> Iterator[None]:
    def empty(command: FlushCommand, **options: object) -> None:
        emptying.empty()
        Path(settings.AUDIT_ANCHOR).unlink(missing_ok=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlushCommand, "handle", empty)
        yield


@pytest.fixture
def person(db: None) -> Callable[..., User]:
    def make(name: str, *groups: str, staff: bool = False, superuser: bool = False) -> User:
        user = User.objects.create_user(
            name, f"{name}@example.com", PASSWORD, is_staff=staff, is_superuser=superuser
        )
        user.groups.set(Group.objects.filter(name__in=groups))
        return user

    return make


@pytest.fixture
def alice(person: Callable[..., User]) -> User:
    return person("alice", roles.CHAT_USERS)


@pytest.fixture
def carol(person: Callable[..., User]) -> User:
    return person("carol", roles.CHAT_USERS)


@pytest.fixture
def bob(person: Callable[..., User]) -> User:
    return person("bob", roles.APPROVERS, staff=True)


@pytest.fixture
def dave(person: Callable[..., User]) -> User:
    return person("dave", roles.AUDITORS, staff=True)


@pytest.fixture
def operator(person: Callable[..., User]) -> User:
    return person("olga", roles.OPERATORS, staff=True)


@pytest.fixture
def admin(person: Callable[..., User]) -> User:
    return person("admin", staff=True, superuser=True)


@pytest.fixture
def assistant(db: None) -> Assistant:
    return Assistant.objects.get_or_create(
        pk=assistant_id_for("shop"),
        defaults={"graph_id": "shop", "name": "Shop assistant", "starters": ["Refund order 1042"]},
    )[0]


@pytest.fixture
def thread(alice: User, assistant: Assistant) -> Thread:
    return Thread.objects.create(owner=alice, assistant=assistant)


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    """A browser-like client that enforces CSRF no more and no less than Django's test client."""

    def make(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return make


def _browser_tests_not_run(reporter: TerminalReporter) -> int:
    return sum("tests/e2e/" in report.nodeid for report in reporter.stats.get("skipped", []))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    count = _browser_tests_not_run(terminalreporter)
    if count:
        terminalreporter.write_line(
            f"{count} browser tests did NOT run: there is no Chromium on this machine."
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where a browser is required, a browser test that was skipped is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("REQUIRE_BROWSER") and reporter and _browser_tests_not_run(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
