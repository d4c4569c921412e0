"""What each role may do with approvals and policy. Break-glass is nobody's by role."""

from accounts import roles
from django.db import migrations

READ = [
    "view_approvalrequest",
    "view_policyrule",
    "view_ruleversion",
    "view_vote",
    "view_comment",
    "view_delegation",
    "view_grant",
    "view_grantuse",
]
PERMISSIONS = {
    roles.APPROVERS: [*READ, "decide", "add_delegation", "change_delegation", "revoke_grant"],
    roles.OPERATORS: READ,
    roles.AUDITORS: READ,
}


def grant(apps, schema_editor):
    roles.grant(apps, "approvals", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0002_decisions_held"),
        ("runtime", "0004_roles"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
