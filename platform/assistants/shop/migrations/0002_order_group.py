"""Orders that only a group sees."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("shop", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="group",
            field=models.ForeignKey(
                blank=True,
                help_text="Only its members may have it looked up or refunded. Empty: everybody.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="auth.group",
                verbose_name="group",
            ),
        ),
    ]
