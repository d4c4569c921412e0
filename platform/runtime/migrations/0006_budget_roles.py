"""Operators keep budgets and prices; auditors read them."""

from accounts import roles
from django.db import migrations

READ = ["view_budget", "view_modelprice", "view_spending"]
WRITE = [f"{verb}_{thing}" for thing in ("budget", "modelprice") for verb in ("add", "change", "delete")]
PERMISSIONS = {roles.OPERATORS: [*READ, *WRITE], roles.AUDITORS: READ}


def grant(apps, schema_editor):
    roles.grant(apps, "runtime", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("runtime", "0005_budgets")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
