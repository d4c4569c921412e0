"""With which key a cron was made: it does not outlive it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_tables"),
        ("runtime", "0009_crons"),
    ]

    operations = [
        migrations.AddField(
            model_name="cron",
            name="key",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="accounts.apikey",
                verbose_name="key",
            ),
        ),
    ]
