"""Auditors read the audit and take it home."""

from accounts import roles
from django.db import migrations

PERMISSIONS = {roles.AUDITORS: ["view_auditevent", "export_auditevent"]}


def grant(apps, schema_editor):
    roles.grant(apps, "runtime", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("runtime", "0005_audit"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
