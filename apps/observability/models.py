"""What the metrics remember of rows that were deleted."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Forgotten(models.Model):
    """How much one series had counted of rows that are gone: without it a counter would fall at every cleanup."""

    series = models.CharField(max_length=50)
    label = models.CharField(max_length=50)
    count = models.BigIntegerField(default=0)

    class Meta:
        default_permissions: ClassVar = []
        constraints: ClassVar = [models.UniqueConstraint(fields=["series", "label"], name="forgotten_once")]

    def __str__(self) -> str:
        return f"{self.series} {self.label}: {self.count}"
