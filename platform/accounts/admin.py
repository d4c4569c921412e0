"""People and their roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import key_admin  # noqa: F401  (registers keys)
from accounts.factor_admin import FactorReset
from accounts.models import User

if TYPE_CHECKING:
    BaseUserAdmin = DjangoUserAdmin[User]
else:
    BaseUserAdmin = DjangoUserAdmin

ROLES_HELP = _(
    "Chat users talk to assistants. Approvers decide on tool calls, Operators watch runs and queues, Auditors read "
    "and export the record. Approvers, Operators and Auditors also need staff status to enter these pages."
)
# What makes somebody more than they are: who may edit people can't give these, to themselves least of all.
POWERS = ("is_superuser", "is_staff", "groups", "user_permissions")


@admin.register(User)
class UserAdmin(FactorReset, BaseUserAdmin):
    """Django's own, with the roles explained where they are given, and given by superusers only.

    Nobody is deleted: the record of what they asked and signed would go with them. Deactivate them instead.
    """

    list_display = ("username", "email", "roles", "is_staff", "is_active", "has_factor", "last_login")
    list_filter = ("groups", "is_staff", "is_superuser", "is_active")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        given = super().get_readonly_fields(request, obj)
        return given if _is_superuser(request) else (*given, *POWERS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """A superuser's page and password are for superusers: they would be a way to become one."""
        if obj and obj.is_superuser and not _is_superuser(request):
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description=_("second factor"), boolean=True, ordering="factor")
    def has_factor(self, user: User) -> bool:
        return user.factor_id is not None

    @admin.display(description=_("roles"))
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or "-"

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name == "groups" and field is not None:
            field.help_text = ROLES_HELP
        return field


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and bool(getattr(request.user, "is_superuser", False))
