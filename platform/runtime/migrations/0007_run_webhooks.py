"""The address that a program wants told of a run's end, and each try to tell it."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from accounts import roles
from django.db import migrations, models

PERMISSIONS = {
    roles.OPERATORS: ["view_runwebhook", "change_runwebhook", "view_runwebhookattempt"],
    roles.AUDITORS: ["view_runwebhook", "view_runwebhookattempt"],
}


def grant(apps, schema_editor):
    roles.grant(apps, "runtime", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [
        ("runtime", "0006_budget_roles"),
    ]

    operations = [
        migrations.CreateModel(
            name="RunWebhook",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("sealed_url", models.TextField(editable=False)),
                ("host", models.CharField(max_length=255, verbose_name="host")),
                ("values", models.JSONField(null=True, verbose_name="values")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("armed", "waits for its run"),
                            ("pending", "waiting"),
                            ("sending", "being sent"),
                            ("sent", "sent"),
                            ("failed", "failed"),
                        ],
                        default="armed",
                        max_length=7,
                        verbose_name="status",
                    ),
                ),
                ("due_at", models.DateTimeField(null=True, verbose_name="due")),
                ("lease_expires_at", models.DateTimeField(null=True)),
                ("tries", models.PositiveSmallIntegerField(default=0, verbose_name="tries")),
                ("error", models.CharField(blank=True, max_length=300, verbose_name="error")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                ("settled_at", models.DateTimeField(null=True, verbose_name="settled")),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="webhook",
                        to="runtime.run",
                        verbose_name="run",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook of a run",
                "verbose_name_plural": "webhooks of runs",
                "ordering": ["-created_at"],
                "default_permissions": ["view", "change"],
            },
        ),
        migrations.CreateModel(
            name="RunWebhookAttempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "started_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="when",
                    ),
                ),
                ("ended_at", models.DateTimeField(null=True, verbose_name="ended")),
                (
                    "outcome",
                    models.CharField(
                        choices=[("begun", "begun, no end recorded"), ("sent", "sent"), ("failed", "failed")],
                        default="begun",
                        max_length=6,
                        verbose_name="outcome",
                    ),
                ),
                ("http_status", models.PositiveSmallIntegerField(null=True, verbose_name="HTTP status")),
                ("error", models.CharField(blank=True, max_length=300, verbose_name="error")),
                (
                    "webhook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="runtime.runwebhook",
                        verbose_name="webhook of a run",
                    ),
                ),
            ],
            options={
                "verbose_name": "attempt",
                "verbose_name_plural": "attempts",
                "ordering": ["-started_at"],
                "default_permissions": ["view"],
            },
        ),
        migrations.AddIndex(
            model_name="runwebhook",
            index=models.Index(
                condition=models.Q(("status__in", ["pending", "sending"])),
                fields=["due_at"],
                name="run_webhook_due",
            ),
        ),
        migrations.AddIndex(
            model_name="runwebhook",
            index=models.Index(
                condition=models.Q(("status", "sending")), fields=["host"], name="run_webhook_under_way"
            ),
        ),
        migrations.AddIndex(
            model_name="runwebhook",
            index=models.Index(fields=["-created_at"], name="run_webhook_by_age"),
        ),
        migrations.AddConstraint(
            model_name="runwebhook",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["armed", "pending", "sending", "sent", "failed"])),
                name="run_webhook_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="runwebhook",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "pending"), _negated=True), ("due_at__isnull", False), _connector="OR"
                ),
                name="run_webhook_pending_is_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="runwebhook",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "sending"), _negated=True),
                    ("lease_expires_at__isnull", False),
                    _connector="OR",
                ),
                name="run_webhook_sending_has_lease",
            ),
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
