"""The queue's filters. Without a word said, it shows what waits: for who may decide, what waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accounts.models import User
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.approvals.models import ApprovalRequest, PolicyRule, RequestStatus
from apps.approvals.permissions import DECIDE, decidable, person

Requests = QuerySet[ApprovalRequest]
if TYPE_CHECKING:
    RequestAdmin = admin.ModelAdmin[ApprovalRequest]
else:
    RequestAdmin = admin.ModelAdmin

ALL = "all"
DECIDED = "decided"
MINE, EVERYBODYS = "yes", "no"
NEWEST_DECISION = F("decided_at").desc(nulls_last=True)
RECENT = 1000  # requests whose tools are offered as a filter: a look at all of them grows with the history


def is_waiting(request: HttpRequest) -> bool:
    """Whether the list shows what waits, and not what was decided."""
    return request.GET.get(StatusFilter.parameter_name, "") in ("", RequestStatus.PENDING)


def with_status(requests: Requests, chosen: str) -> Requests:
    """`chosen`: a status, "decided" or "all"."""
    if chosen == ALL:
        return requests
    if chosen == DECIDED:
        return requests.exclude(status=RequestStatus.PENDING)
    return requests.filter(status=chosen)


class StatusFilter(admin.SimpleListFilter):
    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        settled = [(value, str(label)) for value, label in RequestStatus.choices if value != "pending"]
        return [(DECIDED, _("Decided")), *settled, (ALL, _("All"))]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        return with_status(queryset, self.value() or RequestStatus.PENDING)

    def choices(self, changelist: ChangeList) -> Any:
        """The first entry, chosen when nothing is, reads "waiting" and not Django's "All"."""
        entries = super().choices(changelist)
        first = next(entries)
        yield {**first, "display": RequestStatus.PENDING.label}
        yield from entries


def whose_turn_it_is(requests: Requests, user: User) -> Requests:
    """Those that wait for `user`."""
    return requests & decidable(user)  # as `pk__in` it would be sorted in full for its first page


class MineFilter(admin.SimpleListFilter):
    """What the tabs above the list set; it draws nothing of its own."""

    title = gettext_lazy("whose turn")
    parameter_name = "mine"
    template = "admin/approvals/approvalrequest/_no_filter.html"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        return [(MINE, _("Mine to decide")), (EVERYBODYS, _("Everybody's"))]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        if not self.is_mine(request) or not isinstance(request.user, User):
            return queryset
        return whose_turn_it_is(queryset, request.user)

    @classmethod
    def is_mine(cls, request: HttpRequest) -> bool:
        """What waits is mine unless I say otherwise or may not decide; what was decided is everybody's."""
        chosen = request.GET.get(cls.parameter_name)
        if chosen in (MINE, EVERYBODYS):
            return chosen == MINE
        return is_waiting(request) and person(request).has_perm(DECIDE)


class ToolFilter(admin.SimpleListFilter):
    title = gettext_lazy("tool")
    parameter_name = "tool"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        """The tools that were asked about of late."""
        requests = ApprovalRequest.objects.values_list("tool_call__tool", flat=True)
        waiting = requests.filter(status=RequestStatus.PENDING).order_by("-created_at")[:RECENT]
        decided = requests.exclude(status=RequestStatus.PENDING).order_by(NEWEST_DECISION)[:RECENT]
        return [(tool, tool) for tool in sorted(waiting.union(decided))]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        return queryset.filter(tool_call__tool=self.value()) if self.value() else queryset


class GroupFilter(admin.SimpleListFilter):
    title = gettext_lazy("group")
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: RequestAdmin) -> list[tuple[str, str]]:
        """Those whom the rules name by now: to find them in the requests is to read all of these."""
        named = Q(pk__in=PolicyRule.objects.values("approvers"))
        later = Q(pk__in=PolicyRule.objects.values("escalate_to"))
        return [(str(group.pk), group.name) for group in Group.objects.filter(named | later).order_by("name")]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        chosen = self.value() or ""
        return queryset.filter(approvers=int(chosen)) if chosen.isdecimal() else queryset
