"""A database on which a part of what is one migration now was applied."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

pytestmark = pytest.mark.django_db


def test_a_database_that_was_left_half_way_is_refused() -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("runtime", "0015_run_progress")
    recorder.record_unapplied("runtime", "0001_tables")

    with pytest.raises(
        CommandError, match=r"The tables of runtime come from an older checkout .* Nothing was changed"
    ):
        call_command("migrate", verbosity=0)


def test_one_on_which_all_of_it_was_applied_goes_on() -> None:
    MigrationRecorder(connection).record_unapplied("runtime", "0001_tables")

    call_command("migrate", verbosity=0)

    assert ("runtime", "0001_tables") in MigrationRecorder(connection).applied_migrations()
