"""The last calls of a tool and of a person, without a look at all the others."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("runtime", "0007_toolcall_preview")]

    operations = [
        AddIndexConcurrently(
            model_name="toolcall",
            index=models.Index(fields=["tool", "-created_at"], name="toolcall_by_tool"),
        ),
        AddIndexConcurrently(
            model_name="toolcall",
            index=models.Index(fields=["user", "-created_at"], name="toolcall_by_user"),
        ),
    ]
