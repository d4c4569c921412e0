"""How far a run is, where its graph counts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runtime", "0014_batches")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="progress",
            field=models.JSONField(blank=True, null=True, verbose_name="progress"),
        ),
    ]
