"""What an assistant said at each time: those that are there begin with their first version."""

import django.db.models.deletion
import django.db.models.functions.datetime
from accounts import roles
from django.db import migrations, models

SAID = ("graph_id", "name", "description", "config", "context", "metadata", "sealed")
PERMISSIONS = {
    roles.OPERATORS: ["view_assistantversion"],
    roles.AUDITORS: ["view_assistantversion"],
}


def begin(apps, schema_editor):
    for assistant in apps.get_model("runtime", "Assistant").objects.all():
        said = {name: getattr(assistant, name) for name in SAID}
        apps.get_model("runtime", "AssistantVersion").objects.create(assistant=assistant, number=1, **said)
        type(assistant).objects.filter(pk=assistant.pk).update(version=1)


def grant(apps, schema_editor):
    roles.grant(apps, "runtime", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [
        ("runtime", "0007_run_webhooks"),
    ]

    operations = [
        migrations.AddField(
            model_name="assistant",
            name="context",
            field=models.JSONField(blank=True, default=dict, verbose_name="context"),
        ),
        migrations.AddField(
            model_name="assistant",
            name="retired_at",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="retired"),
        ),
        migrations.AddField(
            model_name="assistant",
            name="sealed",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
        migrations.AddField(
            model_name="assistant",
            name="version",
            field=models.PositiveIntegerField(default=0, editable=False, verbose_name="version"),
        ),
        migrations.CreateModel(
            name="AssistantVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("graph_id", models.CharField(max_length=100, verbose_name="graph")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("description", models.TextField(blank=True, verbose_name="description")),
                ("config", models.JSONField(blank=True, default=dict, verbose_name="configuration")),
                ("context", models.JSONField(blank=True, default=dict, verbose_name="context")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                ("sealed", models.TextField(blank=True, db_default="", default="", editable=False)),
                ("number", models.PositiveIntegerField(verbose_name="version")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                (
                    "assistant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="runtime.assistant",
                        verbose_name="assistant",
                    ),
                ),
            ],
            options={
                "verbose_name": "version of an assistant",
                "verbose_name_plural": "versions of assistants",
                "ordering": ["-number"],
                "default_permissions": ["view"],
            },
        ),
        migrations.AddField(
            model_name="run",
            name="version",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="runs",
                to="runtime.assistantversion",
                verbose_name="version",
            ),
        ),
        migrations.AddConstraint(
            model_name="assistantversion",
            constraint=models.UniqueConstraint(fields=("assistant", "number"), name="assistant_version_once"),
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
