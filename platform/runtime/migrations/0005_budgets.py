"""What models cost, and budgets."""

import uuid
from decimal import Decimal

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("runtime", "0004_roles"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="cost",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=12,
                default=Decimal("0"),
                max_digits=24,
                verbose_name="cost",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="model_calls",
            field=models.JSONField(blank=True, db_default=[], default=list, verbose_name="model calls"),
        ),
        migrations.CreateModel(
            name="Budget",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "is_each",
                    models.BooleanField(
                        default=False,
                        help_text="Each of them may spend this much. Otherwise all of them together.",
                        verbose_name="for each person",
                    ),
                ),
                (
                    "period",
                    models.CharField(
                        choices=[("day", "day"), ("month", "month")],
                        default="day",
                        max_length=5,
                        verbose_name="period",
                    ),
                ),
                (
                    "amount",
                    models.DecimalField(
                        decimal_places=4,
                        max_digits=14,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="amount",
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="in force")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="auth.group",
                        verbose_name="group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        help_text="Leave person and group empty for a budget of everybody.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
            ],
            options={
                "verbose_name": "budget",
                "verbose_name_plural": "budgets",
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="ModelPrice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model", models.CharField(max_length=200, unique=True, verbose_name="model")),
                (
                    "input",
                    models.DecimalField(
                        decimal_places=6,
                        max_digits=12,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="a million input tokens",
                    ),
                ),
                (
                    "cached_input",
                    models.DecimalField(
                        decimal_places=6,
                        max_digits=12,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="a million cached input tokens",
                    ),
                ),
                (
                    "output",
                    models.DecimalField(
                        decimal_places=6,
                        max_digits=12,
                        validators=[django.core.validators.MinValueValidator(Decimal("0"))],
                        verbose_name="a million output tokens",
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
            ],
            options={
                "verbose_name": "price of a model",
                "verbose_name_plural": "prices of models",
                "ordering": ["model"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("cached_input__gte", 0), ("input__gte", 0), ("output__gte", 0)),
                        name="model_price_not_negative",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Spending",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("begins", models.DateField(verbose_name="begins")),
                (
                    "spent",
                    models.DecimalField(
                        decimal_places=12, default=Decimal("0"), max_digits=24, verbose_name="spent"
                    ),
                ),
                (
                    "reserved",
                    models.DecimalField(
                        decimal_places=12, default=Decimal("0"), max_digits=24, verbose_name="reserved"
                    ),
                ),
                (
                    "budget",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="spendings",
                        to="runtime.budget",
                        verbose_name="budget",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="person",
                    ),
                ),
            ],
            options={
                "verbose_name": "spending",
                "verbose_name_plural": "spendings",
                "ordering": ["-begins", "pk"],
            },
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("call", models.UUIDField(default=uuid.uuid4, editable=False)),
                ("attempt", models.PositiveIntegerField(verbose_name="attempt")),
                (
                    "amount",
                    models.DecimalField(
                        decimal_places=12, default=Decimal("0"), max_digits=24, verbose_name="amount"
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
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="runtime.run",
                        verbose_name="run",
                    ),
                ),
                (
                    "spending",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="reservations",
                        to="runtime.spending",
                    ),
                ),
            ],
            options={
                "verbose_name": "reservation",
                "verbose_name_plural": "reservations",
            },
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("user__isnull", True),
                    models.Q(("group__isnull", True), ("is_each", False)),
                    _connector="OR",
                ),
                name="budget_of_one_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gte", 0)), name="budget_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="budget",
            constraint=models.CheckConstraint(
                condition=models.Q(("period__in", ["day", "month"])), name="budget_period_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="spending",
            constraint=models.UniqueConstraint(
                condition=models.Q(("user__isnull", True)), fields=("budget", "begins"), name="spending_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="spending",
            constraint=models.UniqueConstraint(
                condition=models.Q(("user__isnull", False)),
                fields=("budget", "user", "begins"),
                name="spending_once_each",
            ),
        ),
        migrations.AddConstraint(
            model_name="spending",
            constraint=models.CheckConstraint(
                condition=models.Q(("reserved__gte", 0), ("spent__gte", 0)), name="spending_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.UniqueConstraint(fields=("call", "spending"), name="reservation_once"),
        ),
    ]
