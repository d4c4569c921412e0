from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runtime", "0012_store_items"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="sealed",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
        migrations.AddField(
            model_name="toolcall",
            name="sealed",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
    ]
