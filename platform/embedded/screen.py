"""What `manage.py up` prints: steps as they happen, then how to use what is running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from embedded import paths
from embedded.stack import Stack

WIDTH = 68  # columns up to the time of a step


class Steps:
    """Numbered lines, each printed when it begins and completed with its time."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self._number += 1
        print(f" {self._number}/{self._total} {what} ".ljust(WIDTH), end="", flush=True)
        started = time.monotonic()
        try:
            yield
        except BaseException:
            print(flush=True)  # the error gets a line of its own
            raise
        print(f"{time.monotonic() - started:5.1f} s", flush=True)


def servers_line(stack: Stack) -> str:
    database = "PostgreSQL from the wheel" if stack.has_database else "the database of DATABASE_URL"
    redis = "Valkey from the wheel" if stack.has_redis else "the Redis of REDIS_URL"
    return f"{database}, {redis}"


def programs_line(stack: Stack) -> str:
    model = ", demo model" if stack.has_demo_model else ""
    return f"web, first worker{model}; the other workers follow"


def summary(stack: Stack) -> str:
    """Addresses, accounts, what to try, the model, how to stop."""
    url = stack.address.url
    lines = [
        ("Chat", url),
        ("Approvals", f"{url}admin/approvals/approvalrequest/"),
        ("Admin", f"{url}admin/"),
    ]
    lines += _accounts(stack)
    lines += [
        ("Model", _model(stack)),
        ("Mail", _mail(stack)),
        ("Data", f"{stack.home}   logs in {paths.log_dir(stack.home).name}/"),
        ("Stop", "Ctrl-C (the data stays)"),
    ]
    return "\n" + "\n".join(f"  {label:<11}{text}" for label, text in lines) + "\n"


def _accounts(stack: Stack) -> list[tuple[str, str]]:
    if not stack.has_demo_accounts:
        why = (
            "DATABASE_URL is set" if not stack.has_database else f"others can reach HOST={stack.address.host}"
        )
        return [
            ("Sign in", f"no demo accounts, as {why}."),
            ("", "Make one: .venv/bin/python manage.py createsuperuser"),
        ]
    return [
        ("Sign in", "alice, carol (chat)   bob (approver)   admin (superuser)"),
        ("Password", f"{paths.demo_password(stack.home)}   for each of them"),
        ("Try", 'as alice: "Refund order 1042"; then approve it as bob at /admin/'),
    ]


def _model(stack: Stack) -> str:
    if stack.has_demo_model:
        return "built-in demo model, no key needed. Yours: OPENAI_BASE_URL=... OPENAI_API_KEY=... make run"
    return f"{settings.OPENAI_MODEL} at {settings.OPENAI_BASE_URL or 'the default endpoint of its provider'}"


def _mail(stack: Stack) -> str:
    """Where notifications go."""
    if settings.EMAIL_BACKEND.endswith(".filebased.EmailBackend"):
        return f"written to {paths.mail_dir(stack.home)}/"
    if settings.EMAIL_BACKEND.endswith(".console.EmailBackend"):
        return f"written to {paths.log_dir(stack.home).name}/notifier.log"
    return f"sent by {settings.EMAIL_HOST}"
