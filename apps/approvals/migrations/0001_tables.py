import datetime
import uuid

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import apps.approvals.models.rules
import apps.approvals.notifications.models


class Migration(migrations.Migration):
    replaces = [
        ("approvals", "0001_initial"),
        ("approvals", "0002_roles"),
        ("approvals", "0003_expiry"),
        ("approvals", "0004_trust"),
        ("approvals", "0005_trust_roles"),
        ("approvals", "0006_notifications"),
        ("approvals", "0007_queue"),
        ("approvals", "0008_queue_order"),
        ("approvals", "0009_decisions_held"),
        ("approvals", "0010_stranded"),
        ("approvals", "0011_rule_changes"),
    ]

    initial = True

    dependencies = [
        ("accounts", "0001_tables"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("runtime", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="PolicyRule",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True, verbose_name="name")),
                (
                    "priority",
                    models.PositiveIntegerField(
                        default=100, help_text="The lowest number is tried first.", verbose_name="priority"
                    ),
                ),
                (
                    "assistant",
                    models.CharField(
                        default="*",
                        help_text="Graph id; * matches anything.",
                        max_length=100,
                        verbose_name="assistant",
                    ),
                ),
                (
                    "tool",
                    models.CharField(
                        default="*",
                        help_text="Name of the tool; * matches anything.",
                        max_length=100,
                        verbose_name="tool",
                    ),
                ),
                (
                    "verdict",
                    models.CharField(
                        choices=[("allow", "allow"), ("ask", "ask a person"), ("deny", "deny")],
                        max_length=5,
                        verbose_name="verdict",
                    ),
                ),
                (
                    "risk",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "low"), (2, "normal"), (3, "high")], default=2, verbose_name="risk"
                    ),
                ),
                (
                    "approvers",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="auth.group",
                        verbose_name="approvers",
                    ),
                ),
                (
                    "quorum",
                    models.PositiveSmallIntegerField(
                        default=1,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(20),
                        ],
                        verbose_name="approvals needed",
                    ),
                ),
                (
                    "requester_confirms",
                    models.BooleanField(default=False, verbose_name="the requester may confirm alone"),
                ),
                (
                    "decisions",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("approve", "approve"),
                                ("edit", "approve with changes"),
                                ("respond", "answer in the tool's place"),
                                ("reject", "reject"),
                            ],
                            max_length=10,
                        ),
                        default=apps.approvals.models.rules.every_decision,
                        size=None,
                        verbose_name="decisions",
                    ),
                ),
                ("needs_reason", models.BooleanField(default=False, verbose_name="approving needs a reason")),
                (
                    "may_be_granted",
                    models.BooleanField(default=True, verbose_name="may be allowed for a while"),
                ),
                (
                    "expires_after",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(527040),
                        ],
                        verbose_name="expires after (minutes)",
                    ),
                ),
                (
                    "remind_after",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(527040),
                        ],
                        verbose_name="remind after (minutes)",
                    ),
                ),
                (
                    "on_expiry",
                    models.CharField(
                        choices=[("reject", "it does not run"), ("escalate", "another group is asked")],
                        default="reject",
                        max_length=8,
                        verbose_name="when it expires",
                    ),
                ),
                (
                    "escalate_to",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="auth.group",
                        verbose_name="group to ask then",
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                (
                    "people",
                    models.ManyToManyField(
                        blank=True,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="and these people",
                    ),
                ),
            ],
            options={
                "verbose_name": "policy rule",
                "verbose_name_plural": "policy rules",
                "ordering": ["priority", "name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("on_expiry", "escalate"), _negated=True),
                            models.Q(("escalate_to__isnull", False), ("expires_after__isnull", False)),
                            _connector="OR",
                        ),
                        name="rule_escalation_is_whole",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("quorum__gte", 1)), name="rule_quorum_positive"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RuleVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="versions",
                        to="approvals.policyrule",
                        verbose_name="rule",
                    ),
                ),
                ("number", models.PositiveIntegerField(verbose_name="version")),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("digest", models.CharField(max_length=64)),
                ("content", models.JSONField(verbose_name="content")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="first used",
                    ),
                ),
            ],
            options={
                "verbose_name": "rule version",
                "verbose_name_plural": "rule versions",
                "ordering": ["-created_at"],
                "default_permissions": ["view"],
                "constraints": [models.UniqueConstraint(fields=("rule", "digest"), name="rule_version_once")],
            },
        ),
        migrations.CreateModel(
            name="ApprovalRequest",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "tool_call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approval_requests",
                        to="runtime.toolcall",
                        verbose_name="tool call",
                    ),
                ),
                (
                    "question",
                    models.CharField(
                        choices=[
                            ("permission", "May it run?"),
                            ("outcome", "It was cut off in the middle. What became of it?"),
                        ],
                        max_length=10,
                        verbose_name="question",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="approvals.policyrule",
                        verbose_name="rule",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="approvals.ruleversion",
                        verbose_name="policy version",
                    ),
                ),
                (
                    "approvers",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to="auth.group",
                        verbose_name="approvers",
                    ),
                ),
                (
                    "risk",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "low"), (2, "normal"), (3, "high")], default=2, verbose_name="risk"
                    ),
                ),
                ("quorum", models.PositiveSmallIntegerField(default=1, verbose_name="approvals needed")),
                ("escalated_at", models.DateTimeField(blank=True, null=True, verbose_name="escalated")),
                ("remind_at", models.DateTimeField(blank=True, null=True, verbose_name="reminder due")),
                (
                    "stranded_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="nobody could decide since"),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "waiting"),
                            ("approved", "approved"),
                            ("rejected", "rejected"),
                            ("responded", "answered"),
                            ("expired", "expired"),
                            ("cancelled", "withdrawn"),
                            ("superseded", "superseded"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="decided by",
                    ),
                ),
                ("decided_at", models.DateTimeField(blank=True, null=True, verbose_name="decided")),
                (
                    "via",
                    models.CharField(
                        choices=[
                            ("rule", "the rule"),
                            ("delegate", "delegation"),
                            ("confirm", "confirmed by the requester"),
                            ("break_glass", "break-glass"),
                        ],
                        default="rule",
                        max_length=12,
                        verbose_name="by way of",
                    ),
                ),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="asked",
                    ),
                ),
            ],
            options={
                "verbose_name": "approval request",
                "verbose_name_plural": "approval requests",
                "ordering": ["created_at"],
                "permissions": [
                    ("decide", "Can decide on tool calls"),
                    ("break_glass", "Can override who decides, with a reason"),
                ],
                "default_permissions": ["view"],
                "indexes": [
                    models.Index(fields=["status", "created_at"], name="request_by_status"),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["expires_at"],
                        name="request_by_expiry",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["remind_at"],
                        name="request_by_reminder",
                    ),
                    models.Index(
                        condition=models.Q(("stranded_at__isnull", False)),
                        fields=["stranded_at"],
                        name="request_stranded",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["-risk", "expires_at", "created_at", "id"],
                        name="request_by_urgency",
                    ),
                    models.Index(
                        models.OrderBy(models.F("decided_at"), descending=True, nulls_last=True),
                        condition=models.Q(("status", "pending"), _negated=True),
                        name="request_by_decision",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("tool_call",),
                        name="request_one_pending_per_call",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "pending",
                                    "approved",
                                    "rejected",
                                    "responded",
                                    "expired",
                                    "cancelled",
                                    "superseded",
                                ],
                            )
                        ),
                        name="request_status_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Comment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="comments",
                        to="approvals.approvalrequest",
                        verbose_name="approval request",
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
                ("text", models.TextField(max_length=2000, verbose_name="comment")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="when",
                    ),
                ),
            ],
            options={
                "verbose_name": "comment",
                "verbose_name_plural": "comments",
                "ordering": ["created_at", "pk"],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True, verbose_name="name")),
                (
                    "format",
                    models.CharField(
                        choices=[
                            ("generic", "JSON, signed"),
                            ("slack", "Slack"),
                            ("dingtalk", "DingTalk"),
                            ("feishu", "Feishu"),
                        ],
                        default="generic",
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("url", models.CharField(max_length=500, verbose_name="address")),
                ("sealed_secret", models.TextField(blank=True, editable=False)),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        help_text="Only requests this group decides on. Empty: all requests.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="auth.group",
                        verbose_name="group",
                    ),
                ),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("opened", "somebody waits for a decision"),
                                ("reminded", "a request still waits"),
                                ("escalated", "a request was handed on"),
                                ("expiring", "a request is about to expire"),
                                ("expired", "a request has expired"),
                                ("decided", "a request was decided"),
                                ("break_glass", "a decision was forced in an emergency"),
                                ("stranded", "nobody could decide on a request"),
                            ],
                            max_length=12,
                        ),
                        blank=True,
                        default=apps.approvals.notifications.models.all_kinds,
                        size=None,
                        verbose_name="events",
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
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
                "verbose_name": "webhook",
                "verbose_name_plural": "webhooks",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "e-mail"), ("webhook", "webhook")],
                        max_length=7,
                        verbose_name="channel",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("opened", "somebody waits for a decision"),
                            ("reminded", "a request still waits"),
                            ("escalated", "a request was handed on"),
                            ("expiring", "a request is about to expire"),
                            ("expired", "a request has expired"),
                            ("decided", "a request was decided"),
                            ("break_glass", "a decision was forced in an emergency"),
                            ("stranded", "nobody could decide on a request"),
                            ("test", "a test"),
                        ],
                        max_length=12,
                        verbose_name="event",
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="approvals.approvalrequest",
                        verbose_name="approval request",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="approvals.webhookendpoint",
                        verbose_name="webhook",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "waiting"),
                            ("sending", "being sent"),
                            ("sent", "sent"),
                            ("failed", "failed"),
                            ("skipped", "no longer needed"),
                        ],
                        default="pending",
                        max_length=7,
                        verbose_name="status",
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="due"
                    ),
                ),
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
            ],
            options={
                "verbose_name": "delivery",
                "verbose_name_plural": "deliveries",
                "ordering": ["-created_at"],
                "default_permissions": ["view", "change"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "sending"])),
                        fields=["due_at"],
                        name="delivery_due",
                    ),
                    models.Index(fields=["person", "-created_at"], name="delivery_by_person"),
                    models.Index(fields=["endpoint", "-created_at"], name="delivery_by_endpoint"),
                    models.Index(fields=["status", "-created_at"], name="delivery_by_status"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("channel", "email"), ("endpoint__isnull", True), ("person__isnull", False)
                            ),
                            models.Q(
                                ("channel", "webhook"), ("endpoint__isnull", False), ("person__isnull", True)
                            ),
                            _connector="OR",
                        ),
                        name="delivery_one_recipient",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "sending", "sent", "failed", "skipped"])
                        ),
                        name="delivery_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "sending"), _negated=True),
                            ("lease_expires_at__isnull", False),
                            _connector="OR",
                        ),
                        name="delivery_sending_has_lease",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("kind__in", ["opened", "expiring", "expired"]), ("person__isnull", False)
                        ),
                        fields=("request", "kind", "person"),
                        name="delivery_once_per_person",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("endpoint__isnull", False), ("kind__in", ["opened", "expiring", "expired"])
                        ),
                        fields=("request", "kind", "endpoint"),
                        name="delivery_once_per_endpoint",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeliveryAttempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "delivery",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="approvals.delivery",
                        verbose_name="delivery",
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
            ],
            options={
                "verbose_name": "attempt",
                "verbose_name_plural": "attempts",
                "ordering": [models.OrderBy(models.F("started_at"), descending=True)],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                ("tool", models.CharField(max_length=100, verbose_name="tool")),
                (
                    "assistant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="runtime.assistant",
                        verbose_name="assistant",
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
                (
                    "thread",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="runtime.thread",
                        verbose_name="thread",
                    ),
                ),
                ("pattern", models.JSONField(default=dict, verbose_name="arguments")),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="approvals.ruleversion",
                        verbose_name="policy version",
                    ),
                ),
                (
                    "limit",
                    models.PositiveIntegerField(
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000),
                        ],
                        verbose_name="times",
                    ),
                ),
                ("used", models.PositiveIntegerField(default=0, verbose_name="used")),
                ("ends_at", models.DateTimeField(verbose_name="until")),
                ("reason", models.CharField(blank=True, max_length=200, verbose_name="reason")),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="granted by",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="granted",
                    ),
                ),
                (
                    "revoked_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="revoked by",
                    ),
                ),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked")),
            ],
            options={
                "verbose_name": "grant",
                "verbose_name_plural": "grants",
                "ordering": ["-created_at"],
                "permissions": [("revoke_grant", "Can revoke grants")],
                "default_permissions": ["view"],
                "indexes": [models.Index(fields=["user", "tool"], name="grant_by_user_and_tool")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("used__lte", models.F("limit"))), name="grant_used_within_limit"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="GrantUse",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="uses",
                        to="approvals.grant",
                        verbose_name="grant",
                    ),
                ),
                (
                    "tool_call",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grant_use",
                        to="runtime.toolcall",
                        verbose_name="tool call",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="used",
                    ),
                ),
            ],
            options={
                "verbose_name": "use of a grant",
                "verbose_name_plural": "uses of grants",
                "ordering": ["-created_at"],
                "default_permissions": ["view"],
            },
        ),
        migrations.CreateModel(
            name="GroupPreference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("at_once", "at once"),
                            ("digest", "collected, every so many minutes"),
                            ("none", "no e-mail"),
                        ],
                        default="at_once",
                        max_length=7,
                        verbose_name="e-mail",
                    ),
                ),
                (
                    "every",
                    models.PositiveSmallIntegerField(
                        default=30,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1440),
                        ],
                        verbose_name="minutes between two collected e-mails",
                    ),
                ),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("opened", "somebody waits for a decision"),
                                ("reminded", "a request still waits"),
                                ("escalated", "a request was handed on"),
                                ("expiring", "a request is about to expire"),
                                ("expired", "a request has expired"),
                                ("decided", "a request was decided"),
                                ("break_glass", "a decision was forced in an emergency"),
                                ("stranded", "nobody could decide on a request"),
                            ],
                            max_length=12,
                        ),
                        blank=True,
                        default=apps.approvals.notifications.models.all_kinds,
                        size=None,
                        verbose_name="events",
                    ),
                ),
                (
                    "group",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="auth.group",
                        verbose_name="group",
                    ),
                ),
            ],
            options={
                "verbose_name": "e-mail default of a group",
                "verbose_name_plural": "e-mail defaults of groups",
            },
        ),
        migrations.CreateModel(
            name="EditBound",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("argument", models.CharField(max_length=200, verbose_name="argument")),
                (
                    "operator",
                    models.CharField(
                        choices=[
                            ("is", "is"),
                            ("is not", "is not"),
                            ("more than", "is more than"),
                            ("at most", "is at most"),
                            ("less than", "is less than"),
                            ("at least", "is at least"),
                            ("one of", "is one of (separated by commas)"),
                            ("none of", "is none of (separated by commas)"),
                            ("begins with", "begins with"),
                            ("ends with", "ends with"),
                            ("does not end with", "does not end with"),
                            ("contains", "contains"),
                            ("longer than", "is longer than (characters)"),
                            ("given", "is given"),
                            ("missing", "is not given"),
                        ],
                        max_length=20,
                        verbose_name="operator",
                    ),
                ),
                ("value", models.CharField(blank=True, max_length=500, verbose_name="value")),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="bounds",
                        to="approvals.policyrule",
                    ),
                ),
            ],
            options={
                "verbose_name": "bound of editing",
                "verbose_name_plural": "bounds of editing: with any, only these arguments may be changed",
                "ordering": ["pk"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Condition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("argument", models.CharField(max_length=200, verbose_name="argument")),
                (
                    "operator",
                    models.CharField(
                        choices=[
                            ("is", "is"),
                            ("is not", "is not"),
                            ("more than", "is more than"),
                            ("at most", "is at most"),
                            ("less than", "is less than"),
                            ("at least", "is at least"),
                            ("one of", "is one of (separated by commas)"),
                            ("none of", "is none of (separated by commas)"),
                            ("begins with", "begins with"),
                            ("ends with", "ends with"),
                            ("does not end with", "does not end with"),
                            ("contains", "contains"),
                            ("longer than", "is longer than (characters)"),
                            ("given", "is given"),
                            ("missing", "is not given"),
                        ],
                        max_length=20,
                        verbose_name="operator",
                    ),
                ),
                ("value", models.CharField(blank=True, max_length=500, verbose_name="value")),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="conditions",
                        to="approvals.policyrule",
                    ),
                ),
            ],
            options={
                "verbose_name": "condition",
                "verbose_name_plural": "conditions: all of them must hold",
                "ordering": ["pk"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Preference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("at_once", "at once"),
                            ("digest", "collected, every so many minutes"),
                            ("none", "no e-mail"),
                        ],
                        default="at_once",
                        max_length=7,
                        verbose_name="e-mail",
                    ),
                ),
                (
                    "every",
                    models.PositiveSmallIntegerField(
                        default=30,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1440),
                        ],
                        verbose_name="minutes between two collected e-mails",
                    ),
                ),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("opened", "somebody waits for a decision"),
                                ("reminded", "a request still waits"),
                                ("escalated", "a request was handed on"),
                                ("expiring", "a request is about to expire"),
                                ("expired", "a request has expired"),
                                ("decided", "a request was decided"),
                                ("break_glass", "a decision was forced in an emergency"),
                                ("stranded", "nobody could decide on a request"),
                            ],
                            max_length=12,
                        ),
                        blank=True,
                        default=apps.approvals.notifications.models.all_kinds,
                        size=None,
                        verbose_name="events",
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
                (
                    "language",
                    models.CharField(
                        choices=[("en", "English"), ("zh-hans", "Simplified Chinese")],
                        default="en",
                        max_length=10,
                        verbose_name="language",
                    ),
                ),
            ],
            options={
                "verbose_name": "e-mail preference",
                "verbose_name_plural": "e-mail preferences",
                "default_permissions": [],
            },
        ),
        migrations.CreateModel(
            name="RuleChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("add", "a new rule"),
                            ("change", "a change"),
                            ("delete", "the end of a rule"),
                        ],
                        max_length=6,
                        verbose_name="what",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="proposed_changes",
                        to="approvals.policyrule",
                        verbose_name="rule",
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("before", models.JSONField(null=True, verbose_name="before")),
                ("after", models.JSONField(null=True, verbose_name="after")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("proposed", "waits for a second person"),
                            ("countersigned", "countersigned"),
                            ("declined", "declined"),
                        ],
                        default="proposed",
                        max_length=13,
                        verbose_name="status",
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="proposed by",
                    ),
                ),
                (
                    "proposed_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="proposed",
                    ),
                ),
                (
                    "settled_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="settled by",
                    ),
                ),
                ("settled_at", models.DateTimeField(null=True, verbose_name="settled")),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
            ],
            options={
                "verbose_name": "proposed change of the policy",
                "verbose_name_plural": "proposed changes of the policy",
                "ordering": ["-proposed_at"],
                "default_permissions": [],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "proposed")),
                        fields=("rule",),
                        name="rule_change_one_at_a_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "countersigned"), _negated=True),
                            models.Q(
                                ("settled_by__isnull", False),
                                models.Q(("settled_by", models.F("proposed_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="rule_change_by_two",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SavedView",
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
                        related_name="saved_views",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
                ("name", models.CharField(max_length=60, verbose_name="name")),
                ("query", models.CharField(blank=True, max_length=1000, verbose_name="filters and search")),
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
                "verbose_name": "saved view",
                "verbose_name_plural": "saved views",
                "ordering": ["name"],
                "default_permissions": [],
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "name"), name="saved_view_once_a_name")
                ],
            },
        ),
        migrations.CreateModel(
            name="Vote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="votes",
                        to="approvals.approvalrequest",
                        verbose_name="approval request",
                    ),
                ),
                (
                    "voter",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
                (
                    "principal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="in place of",
                    ),
                ),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("approve", "approve"),
                            ("edit", "approve with changes"),
                            ("respond", "answer in the tool's place"),
                            ("reject", "reject"),
                        ],
                        max_length=10,
                        verbose_name="decision",
                    ),
                ),
                (
                    "via",
                    models.CharField(
                        choices=[
                            ("rule", "the rule"),
                            ("delegate", "delegation"),
                            ("confirm", "confirmed by the requester"),
                            ("break_glass", "break-glass"),
                        ],
                        default="rule",
                        max_length=12,
                        verbose_name="by way of",
                    ),
                ),
                ("args_digest", models.CharField(max_length=64)),
                ("reason", models.TextField(blank=True, verbose_name="reason")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        editable=False,
                        verbose_name="when",
                    ),
                ),
            ],
            options={
                "verbose_name": "vote",
                "verbose_name_plural": "votes",
                "ordering": ["created_at", "pk"],
                "default_permissions": ["view"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("verdict__in", ("approve", "edit"))),
                        fields=("request", "voter", "args_digest"),
                        name="vote_once_a_person",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("verdict__in", ("approve", "edit"))),
                        fields=("request", "principal", "args_digest"),
                        name="vote_once_a_right",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Delegation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "delegator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="away",
                    ),
                ),
                (
                    "delegate",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="decides meanwhile",
                    ),
                ),
                ("starts_at", models.DateTimeField(verbose_name="from")),
                ("ends_at", models.DateTimeField(verbose_name="until")),
                ("reason", models.CharField(blank=True, max_length=200, verbose_name="reason")),
                (
                    "revoked_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="ended early"),
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
                "verbose_name": "delegation",
                "verbose_name_plural": "delegations",
                "ordering": ["-starts_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("delegator", models.F("delegate")), _negated=True),
                        name="delegation_to_another",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at__gt", models.F("starts_at")),
                            (
                                "ends_at__lte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("starts_at"), "+", models.Value(datetime.timedelta(days=30))
                                ),
                            ),
                        ),
                        name="delegation_ends",
                    ),
                ],
            },
        ),
    ]
