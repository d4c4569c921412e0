"""What each role may do with threads, runs, tool calls and the audit."""

from accounts import roles
from django.db import migrations

PERMISSIONS = {
    roles.CHAT_USERS: ["add_thread", "view_thread", "add_run", "view_run"],
    roles.APPROVERS: ["view_toolcall"],
    roles.OPERATORS: [
        "view_assistant",
        "change_assistant",
        "view_thread",
        "view_run",
        "view_toolcall",
        "replay_run",
        "use_queue_dashboard",
        "view_metrics",
    ],
    roles.AUDITORS: [
        "view_assistant",
        "view_thread",
        "view_run",
        "view_toolcall",
        "export_toolcall",
        "view_auditevent",
        "export_auditevent",
    ],
}


def grant(apps, schema_editor):
    roles.grant(apps, "runtime", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("runtime", "0003_audit"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
