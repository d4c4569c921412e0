"""The queue's filters. Without a word said, it shows what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accounts.models import User
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from runtime.models import ToolCall

from apps.approvals.models import ApprovalRequest, RequestStatus
from apps.approvals.permissions import decidable

Requests = QuerySet[ApprovalRequest]
if TYPE_CHECKING:
    RequestAdmin = admin.ModelAdmin[ApprovalRequest]
else:
    RequestAdmin = admin.ModelAdmin

ALL = "all"


class StatusFilter(admin.SimpleListFilter):
    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        settled = [(value, str(label)) for value, label in RequestStatus.choices if value != "pending"]
        return [*settled, (ALL, _("All"))]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        chosen = self.value()
        if chosen == ALL:
            return queryset
        return queryset.filter(status=chosen or RequestStatus.PENDING)

    def choices(self, changelist: ChangeList) -> Any:
        """The first entry, chosen when nothing is, reads "waiting" and not Django's "All"."""
        entries = super().choices(changelist)
        first = next(entries)
        yield {**first, "display": RequestStatus.PENDING.label}
        yield from entries


class MineFilter(admin.SimpleListFilter):
    title = gettext_lazy("whose turn")
    parameter_name = "mine"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        return [("yes", _("Mine to decide"))]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        if self.value() != "yes" or not isinstance(request.user, User):
            return queryset
        return queryset.filter(pk__in=decidable(request.user).values("pk"))


class ToolFilter(admin.SimpleListFilter):
    title = gettext_lazy("tool")
    parameter_name = "tool"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        asked_about = ToolCall.objects.filter(approval_requests__isnull=False)
        return [
            (tool, tool) for tool in asked_about.order_by("tool").values_list("tool", flat=True).distinct()
        ]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        return queryset.filter(tool_call__tool=self.value()) if self.value() else queryset


class GroupFilter(admin.SimpleListFilter):
    title = gettext_lazy("group")
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        groups = Group.objects.filter(pk__in=ApprovalRequest.objects.values("approvers"))
        return [(str(group.pk), group.name) for group in groups.order_by("name")]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        chosen = self.value() or ""
        return queryset.filter(approvers=int(chosen)) if chosen.isdecimal() else queryset
