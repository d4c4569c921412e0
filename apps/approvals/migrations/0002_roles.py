"""What each role may do with approvals and policy."""

from accounts import roles
from django.db import migrations

PERMISSIONS = {
    roles.APPROVERS: ["decide", "view_approvalrequest", "view_policyrule"],
    roles.OPERATORS: ["view_approvalrequest", "view_policyrule"],
    roles.AUDITORS: ["view_approvalrequest", "view_policyrule"],
}


def grant(apps, schema_editor):
    roles.grant(apps, "approvals", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
