"""Runs that nobody waits for have a queue of their own, and those asked for together know of each other."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runtime", "0013_sealed")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="queue",
            field=models.CharField(
                choices=[("interactive", "interactive"), ("batch", "batch")],
                db_default="interactive",
                default="interactive",
                max_length=20,
                verbose_name="queue",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="batch",
            field=models.UUIDField(blank=True, editable=False, null=True, verbose_name="batch"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("batch__isnull", False)), fields=["batch"], name="run_by_batch"
            ),
        ),
    ]
