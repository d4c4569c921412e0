"""The queue's first page, without sorting all that waits or all that was decided."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("approvals", "0007_queue")]

    operations = [
        AddIndexConcurrently(
            model_name="approvalrequest",
            index=models.Index(
                fields=["-risk", "expires_at", "created_at", "id"],
                name="request_by_urgency",
                condition=Q(status="pending"),
            ),
        ),
        AddIndexConcurrently(
            model_name="approvalrequest",
            index=models.Index(
                F("decided_at").desc(nulls_last=True),
                name="request_by_decision",
                condition=~Q(status="pending"),
            ),
        ),
    ]
