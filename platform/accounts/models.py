"""People. Roles are Django groups; roles.py says which permissions each one holds."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """Somebody who signs in. Chat users are not staff; approvers, operators and auditors are."""

    def __str__(self) -> str:
        return self.get_full_name() or self.username
