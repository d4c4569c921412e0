import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("runtime", "0001_initial"),
        ("runtime", "0002_roles"),
        ("runtime", "0003_admission"),
        ("runtime", "0004_fence"),
        ("runtime", "0005_audit"),
        ("runtime", "0006_audit_roles"),
        ("runtime", "0007_toolcall_preview"),
        ("runtime", "0008_toolcall_history"),
        ("runtime", "0009_interrupts"),
        ("runtime", "0010_programs"),
        ("runtime", "0011_request_keys"),
        ("runtime", "0012_store_items"),
        ("runtime", "0013_sealed"),
        ("runtime", "0014_batches"),
        ("runtime", "0015_run_progress"),
    ]

    initial = True

    dependencies = [
        ("accounts", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="Assistant",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("graph_id", models.CharField(max_length=100, verbose_name="graph")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("description", models.TextField(blank=True, verbose_name="description")),
                ("starters", models.JSONField(blank=True, default=list, verbose_name="starters")),
                ("config", models.JSONField(blank=True, default=dict, verbose_name="configuration")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "description_of_graph",
                    models.JSONField(blank=True, null=True, verbose_name="description of the graph"),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="offered to people")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
            ],
            options={
                "verbose_name": "assistant",
                "verbose_name_plural": "assistants",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Thread",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="threads",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="owner",
                    ),
                ),
                (
                    "assistant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="threads",
                        to="runtime.assistant",
                        verbose_name="assistant",
                    ),
                ),
                ("title", models.CharField(blank=True, max_length=200, verbose_name="title")),
                ("metadata", models.JSONField(blank=True, default=dict, verbose_name="metadata")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="last active"
                    ),
                ),
                ("deleted_at", models.DateTimeField(blank=True, null=True, verbose_name="deleted")),
            ],
            options={
                "verbose_name": "thread",
                "verbose_name_plural": "threads",
                "ordering": ["-updated_at"],
                "indexes": [
                    models.Index(fields=["owner", "-updated_at"], name="thread_by_owner"),
                    models.Index(fields=["updated_at"], name="thread_by_age"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "seq",
                    models.BigIntegerField(editable=False, null=True, unique=True, verbose_name="number"),
                ),
                ("at", models.DateTimeField(editable=False, null=True, verbose_name="time")),
                ("previous", models.CharField(db_default="", editable=False, max_length=64)),
                ("hash", models.CharField(db_default="", editable=False, max_length=64, verbose_name="hash")),
                ("body", models.TextField(editable=False)),
                (
                    "action",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("body"), template="((%(expressions)s)::jsonb #>> '{action}')"
                        ),
                        output_field=models.TextField(),
                        verbose_name="action",
                    ),
                ),
                (
                    "actor",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("body"), template="((%(expressions)s)::jsonb #>> '{actor}')"
                        ),
                        output_field=models.TextField(),
                        verbose_name="actor",
                    ),
                ),
                (
                    "actor_id",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("body"), template="((%(expressions)s)::jsonb #>> '{actor_id}')"
                        ),
                        output_field=models.TextField(),
                        verbose_name="actor's id",
                    ),
                ),
                (
                    "subject_kind",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("body"), template="((%(expressions)s)::jsonb #>> '{subject,kind}')"
                        ),
                        output_field=models.TextField(),
                        verbose_name="subject",
                    ),
                ),
                (
                    "subject_id",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("body"), template="((%(expressions)s)::jsonb #>> '{subject,id}')"
                        ),
                        output_field=models.TextField(),
                        verbose_name="subject's id",
                    ),
                ),
                (
                    "thread_id",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.F("body"), template="((%(expressions)s)::jsonb #>> '{thread_id}')"
                        ),
                        output_field=models.TextField(),
                        verbose_name="thread",
                    ),
                ),
            ],
            options={
                "verbose_name": "audit event",
                "verbose_name_plural": "audit",
                "ordering": ["-seq"],
                "permissions": [("export_auditevent", "Can export the audit")],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(fields=["at"], name="audit_by_time"),
                    models.Index(fields=["action", "-seq"], name="audit_by_action"),
                    models.Index(fields=["actor", "-seq"], name="audit_by_actor"),
                    models.Index(fields=["subject_kind", "subject_id", "-seq"], name="audit_by_subject"),
                    models.Index(
                        condition=models.Q(("seq__isnull", True)), fields=["id"], name="audit_unsealed"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to="runtime.thread",
                        verbose_name="thread",
                    ),
                ),
                (
                    "assistant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="runtime.assistant",
                        verbose_name="assistant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="requester",
                    ),
                ),
                (
                    "resumes",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="resumed_by",
                        to="runtime.run",
                        verbose_name="resumes",
                    ),
                ),
                (
                    "replaces",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="replaced_by",
                        to="runtime.run",
                        verbose_name="replaces",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "queued"),
                            ("running", "running"),
                            ("waiting", "waiting for a decision"),
                            ("success", "done"),
                            ("error", "failed"),
                            ("timeout", "out of time"),
                            ("cancelled", "stopped"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                ("input", models.JSONField(blank=True, null=True, verbose_name="input")),
                ("command", models.JSONField(blank=True, null=True, verbose_name="command")),
                ("metadata", models.JSONField(blank=True, null=True, verbose_name="metadata")),
                ("config", models.JSONField(blank=True, null=True, verbose_name="configuration")),
                ("context", models.JSONField(blank=True, null=True, verbose_name="context")),
                ("sealed", models.TextField(blank=True, db_default="", default="", editable=False)),
                ("options", models.JSONField(blank=True, null=True, verbose_name="options")),
                ("hidden_at", models.DateTimeField(blank=True, null=True, verbose_name="deleted")),
                (
                    "queue",
                    models.CharField(
                        choices=[("interactive", "interactive"), ("batch", "batch")],
                        db_default="interactive",
                        default="interactive",
                        max_length=20,
                        verbose_name="queue",
                    ),
                ),
                ("batch", models.UUIDField(blank=True, editable=False, null=True, verbose_name="batch")),
                ("progress", models.JSONField(blank=True, null=True, verbose_name="progress")),
                ("attempt", models.PositiveIntegerField(default=0, verbose_name="attempt")),
                ("drains", models.PositiveIntegerField(default=0, verbose_name="given back")),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True, verbose_name="lease ends")),
                ("worker", models.CharField(blank=True, max_length=100, verbose_name="worker")),
                (
                    "cancel_requested_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="stop asked"),
                ),
                ("error", models.TextField(blank=True, verbose_name="error")),
                ("error_type", models.CharField(blank=True, max_length=100, verbose_name="kind of error")),
                ("input_tokens", models.PositiveIntegerField(default=0, verbose_name="input tokens")),
                ("output_tokens", models.PositiveIntegerField(default=0, verbose_name="output tokens")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
            ],
            options={
                "verbose_name": "run",
                "verbose_name_plural": "runs",
                "ordering": ["-created_at"],
                "permissions": [
                    ("replay_run", "Can replay a run"),
                    ("use_queue_dashboard", "Can use the queue dashboard"),
                    ("view_metrics", "Can read the metrics"),
                ],
                "indexes": [
                    models.Index(fields=["thread", "-created_at"], name="run_by_thread"),
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "running"])),
                        fields=["status", "lease_expires_at"],
                        name="run_live",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "running"])),
                        fields=["user"],
                        name="run_live_by_user",
                    ),
                    models.Index(
                        condition=models.Q(("batch__isnull", False)), fields=["batch"], name="run_by_batch"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "running")),
                        fields=("thread",),
                        name="run_one_running_per_thread",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                ["pending", "running", "waiting", "success", "error", "timeout", "cancelled"],
                            )
                        ),
                        name="run_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "running"), _negated=True),
                            ("lease_expires_at__isnull", False),
                            _connector="OR",
                        ),
                        name="run_running_has_lease",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="runtime.thread",
                        verbose_name="thread",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="runtime.run",
                        verbose_name="run",
                    ),
                ),
                ("message_id", models.CharField(max_length=100, verbose_name="message id")),
                (
                    "role",
                    models.CharField(
                        choices=[("human", "person"), ("ai", "assistant")], max_length=5, verbose_name="role"
                    ),
                ),
                ("content", models.TextField(blank=True, verbose_name="text")),
                ("is_partial", models.BooleanField(default=False, verbose_name="cut off")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
            ],
            options={
                "verbose_name": "message",
                "verbose_name_plural": "messages",
                "ordering": ["created_at", "pk"],
                "indexes": [models.Index(fields=["thread", "created_at"], name="message_by_thread")],
                "constraints": [
                    models.UniqueConstraint(fields=("thread", "message_id"), name="message_once"),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["human", "ai"])), name="message_role_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ToolCall",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tool_calls",
                        to="runtime.thread",
                        verbose_name="thread",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tool_calls",
                        to="runtime.run",
                        verbose_name="run",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tool_calls",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="requester",
                    ),
                ),
                (
                    "assistant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tool_calls",
                        to="runtime.assistant",
                        verbose_name="assistant",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("call", "tool call"),
                            ("action", "action of the graph"),
                            ("question", "question of the graph"),
                        ],
                        default="call",
                        max_length=8,
                        verbose_name="kind",
                    ),
                ),
                ("task_id", models.CharField(max_length=100)),
                ("interrupt_id", models.CharField(blank=True, max_length=100)),
                ("position", models.PositiveIntegerField(default=0)),
                ("takes", models.JSONField(default=list)),
                ("call_id", models.CharField(max_length=200, verbose_name="call id")),
                ("tool", models.CharField(max_length=100, verbose_name="tool")),
                ("sensitive", models.BooleanField(default=False, verbose_name="sensitive")),
                (
                    "effect",
                    models.CharField(
                        choices=[
                            ("none", "none"),
                            ("idempotent", "idempotent"),
                            ("reconcile", "reconcile"),
                            ("once", "once"),
                        ],
                        default="once",
                        max_length=10,
                        verbose_name="effect",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("proposed", "proposed"),
                            ("waiting", "waiting for approval"),
                            ("approved", "approved"),
                            ("running", "running"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("rejected", "rejected"),
                            ("responded", "answered by a person"),
                            ("denied", "denied by policy"),
                            ("expired", "expired"),
                            ("superseded", "superseded"),
                            ("cancelled", "cancelled"),
                            ("unknown", "outcome unknown"),
                        ],
                        default="proposed",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("why", models.TextField(blank=True, verbose_name="why")),
                ("preview", models.TextField(blank=True, default="", verbose_name="preview")),
                (
                    "preview_error",
                    models.TextField(blank=True, default="", verbose_name="error of the preview"),
                ),
                ("proposed_args", models.JSONField(default=dict, verbose_name="arguments as proposed")),
                ("proposed_digest", models.CharField(default="", max_length=64)),
                ("args", models.JSONField(default=dict, verbose_name="arguments as run")),
                ("args_digest", models.CharField(max_length=64)),
                ("args_schema", models.JSONField(default=dict)),
                ("sealed", models.TextField(blank=True, db_default="", default="", editable=False)),
                ("decision", models.CharField(blank=True, max_length=10, verbose_name="decision")),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="decided by",
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True, verbose_name="decided")),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                ("policy", models.CharField(blank=True, max_length=200, verbose_name="policy")),
                ("result", models.TextField(blank=True, verbose_name="result")),
                ("error", models.TextField(blank=True, verbose_name="error")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="proposed",
                    ),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True, verbose_name="started")),
                ("finished_at", models.DateTimeField(blank=True, null=True, verbose_name="finished")),
            ],
            options={
                "verbose_name": "tool call",
                "verbose_name_plural": "tool calls",
                "ordering": ["-created_at"],
                "permissions": [("export_toolcall", "Can export the audit of tool calls")],
                "indexes": [
                    models.Index(fields=["thread", "created_at"], name="toolcall_by_thread"),
                    models.Index(fields=["state", "created_at"], name="toolcall_by_state"),
                    models.Index(fields=["tool", "-created_at"], name="toolcall_by_tool"),
                    models.Index(fields=["user", "-created_at"], name="toolcall_by_user"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("thread", "task_id", "call_id", "proposed_digest"), name="toolcall_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "proposed",
                                    "waiting",
                                    "approved",
                                    "running",
                                    "done",
                                    "failed",
                                    "rejected",
                                    "responded",
                                    "denied",
                                    "expired",
                                    "superseded",
                                    "cancelled",
                                    "unknown",
                                ],
                            )
                        ),
                        name="toolcall_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("effect__in", ["none", "idempotent", "reconcile", "once"])),
                        name="toolcall_effect_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["call", "action", "question"])),
                        name="toolcall_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("interrupt_id", ""), ("kind", "call")),
                            models.Q(
                                models.Q(("kind", "call"), _negated=True),
                                models.Q(("interrupt_id", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="toolcall_interrupt_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RequestKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="requester",
                    ),
                ),
                ("key", models.CharField(max_length=255, verbose_name="key")),
                ("digest", models.CharField(max_length=64)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="runtime.run",
                        verbose_name="run",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
            ],
            options={
                "verbose_name": "key of a request",
                "verbose_name_plural": "keys of requests",
                "indexes": [models.Index(fields=["created_at"], name="request_key_by_age")],
                "constraints": [models.UniqueConstraint(fields=("user", "key"), name="request_key_once")],
            },
        ),
        migrations.CreateModel(
            name="StoreItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="owner",
                    ),
                ),
                (
                    "namespace",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100), size=None, verbose_name="namespace"
                    ),
                ),
                ("key", models.CharField(max_length=255, verbose_name="key")),
                ("value", models.JSONField(verbose_name="value")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="changed"
                    ),
                ),
            ],
            options={
                "verbose_name": "item of a store",
                "verbose_name_plural": "items of stores",
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "namespace", "key"), name="store_item_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="ThreadState",
            fields=[
                (
                    "thread",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="state",
                        serialize=False,
                        to="runtime.thread",
                        verbose_name="thread",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="runtime.run",
                        verbose_name="run",
                    ),
                ),
                ("values", models.JSONField(default=dict, verbose_name="values")),
                ("next", models.JSONField(default=list)),
                ("tasks", models.JSONField(default=list)),
                ("interrupts", models.JSONField(default=list)),
                ("metadata", models.JSONField(default=dict, verbose_name="metadata")),
                ("checkpoint", models.JSONField(null=True)),
                ("parent_checkpoint", models.JSONField(null=True)),
                ("created_at", models.DateTimeField(null=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
            ],
            options={
                "verbose_name": "state of a thread",
                "verbose_name_plural": "states of threads",
            },
        ),
    ]
