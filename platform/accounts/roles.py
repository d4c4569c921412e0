"""The roles people have: Django groups, made by migrations; each app's migration grants its own permissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps.registry import Apps

CHAT_USERS = "Chat users"
APPROVERS = "Approvers"
OPERATORS = "Operators"
AUDITORS = "Auditors"
ALL = (CHAT_USERS, APPROVERS, OPERATORS, AUDITORS)


def grant(apps: Apps, app_label: str, permissions: Mapping[str, Sequence[str]]) -> None:
    """For a migration: gives each group in `permissions` the codenames of `app_label` listed for it.

    Permissions are usually made after all migrations have run, so those of this app are made here first.
    """
    from django.apps import apps as current_apps
    from django.contrib.auth.management import create_permissions

    create_permissions(current_apps.get_app_config(app_label), verbosity=0)
    group_model: Any = apps.get_model("auth", "Group")
    permission_model: Any = apps.get_model("auth", "Permission")
    for name, codenames in permissions.items():
        group, _ = group_model.objects.get_or_create(name=name)
        found = permission_model.objects.filter(content_type__app_label=app_label, codename__in=codenames)
        missing = set(codenames) - set(found.values_list("codename", flat=True))
        if missing:
            raise LookupError(f"{app_label} has no permission {sorted(missing)}")
        group.permissions.add(*found)
