"""What each role may do with delegations, grants, votes and versions. Break-glass is nobody's by role."""

from accounts import roles
from django.db import migrations

READ = ["view_vote", "view_comment", "view_delegation", "view_grant", "view_grantuse", "view_ruleversion"]
PERMISSIONS = {
    roles.APPROVERS: [*READ, "add_delegation", "change_delegation", "revoke_grant"],
    roles.OPERATORS: READ,
    roles.AUDITORS: READ,
}


def grant(apps, schema_editor):
    roles.grant(apps, "approvals", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_trust")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
