"""What `manage.py up` says once everything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from embedded import screen
from embedded.address import Address
from embedded.stack import Stack
from embedded.supervisor import Supervisor
from pytest_django.fixtures import Settings

BACKENDS = "django.core.mail.backends"


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("filebased", "written to {home}/mail/"),
        ("console", "written to log/notifier.log"),
        ("smtp", "sent by mail.example.com"),
    ],
)
def test_it_says_where_mail_goes(backend: str, said: str, settings: Settings, tmp_path: Path) -> None:
    settings.EMAIL_BACKEND = f"{BACKENDS}.{backend}.EmailBackend"
    settings.EMAIL_HOST = "mail.example.com"
    stack = Stack(tmp_path, Address("127.0.0.1", 8000), Supervisor(say=print), lock=0)

    assert f"Mail       {said.format(home=tmp_path)}" in screen.summary(stack)
    assert "follow" in screen.programs_line(stack)
