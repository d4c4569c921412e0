"""Runs that begin by themselves, and each time that one was due."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from accounts import roles
from django.conf import settings
from django.db import migrations, models

PERMISSIONS = {
    roles.OPERATORS: ["view_cron", "change_cron", "view_cronturn"],
    roles.AUDITORS: ["view_cron", "view_cronturn"],
}


def grant(apps, schema_editor):
    roles.grant(apps, "runtime", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [
        ("runtime", "0008_assistant_versions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Cron",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("schedule", models.CharField(max_length=200, verbose_name="schedule")),
                ("timezone", models.CharField(blank=True, max_length=64, verbose_name="time zone")),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                ("end_time", models.DateTimeField(blank=True, null=True, verbose_name="ends")),
                (
                    "on_run_completed",
                    models.CharField(
                        choices=[("delete", "the thread goes with the run"), ("keep", "the thread stays")],
                        default="delete",
                        max_length=6,
                        verbose_name="afterwards",
                    ),
                ),
                ("payload", models.JSONField(default=dict, verbose_name="payload")),
                ("sealed", models.TextField(blank=True, default="", editable=False)),
                ("sealed_webhook", models.TextField(blank=True, default="", editable=False)),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                ("next_run_at", models.DateTimeField(blank=True, null=True, verbose_name="next run")),
                ("problem", models.CharField(blank=True, max_length=300, verbose_name="problem")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                (
                    "assistant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="crons",
                        to="runtime.assistant",
                        verbose_name="assistant",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="crons",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="owner",
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="crons",
                        to="runtime.thread",
                        verbose_name="thread",
                    ),
                ),
            ],
            options={
                "verbose_name": "cron",
                "verbose_name_plural": "crons",
                "ordering": ["-created_at"],
                "default_permissions": ["view", "change"],
            },
        ),
        migrations.CreateModel(
            name="CronTurn",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("due_at", models.DateTimeField(verbose_name="due")),
                ("problem", models.CharField(blank=True, max_length=300, verbose_name="problem")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="when",
                    ),
                ),
                (
                    "cron",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="turns",
                        to="runtime.cron",
                        verbose_name="cron",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="cron_turns",
                        to="runtime.run",
                        verbose_name="run",
                    ),
                ),
            ],
            options={
                "verbose_name": "turn of a cron",
                "verbose_name_plural": "turns of crons",
                "ordering": ["-due_at"],
                "default_permissions": ["view"],
            },
        ),
        migrations.AddIndex(
            model_name="cron",
            index=models.Index(
                condition=models.Q(("is_enabled", True)), fields=["next_run_at"], name="cron_due"
            ),
        ),
        migrations.AddIndex(
            model_name="cron",
            index=models.Index(fields=["owner", "-created_at"], name="cron_by_owner"),
        ),
        migrations.AddConstraint(
            model_name="cron",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_enabled", True), ("next_run_at__isnull", True), _connector="OR"),
                name="cron_off_is_never_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="cronturn",
            constraint=models.UniqueConstraint(fields=("cron", "due_at"), name="cron_turn_once"),
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
