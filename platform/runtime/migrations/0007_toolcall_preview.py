"""What a tool said it would do, kept with the call."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runtime", "0006_audit_roles")]

    operations = [
        migrations.AddField(
            model_name="toolcall",
            name="preview",
            field=models.TextField(blank=True, default="", verbose_name="preview"),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="preview_error",
            field=models.TextField(blank=True, default="", verbose_name="error of the preview"),
        ),
    ]
