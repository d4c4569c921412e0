"""Webhooks of runs: which host was told of which run, each try, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from runtime.models import RunWebhook, RunWebhookAttempt

from apps.observability import columns
from apps.observability.read_only import ReadOnlyAdmin

if TYPE_CHECKING:
    AttemptTable = admin.TabularInline[RunWebhookAttempt, RunWebhook]
else:
    AttemptTable = admin.TabularInline


class AttemptInline(AttemptTable):
    model = RunWebhookAttempt
    fields = readonly_fields = ("started_at", "took", "outcome", "http_status", "error")
    ordering = ("started_at",)
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("duration"))
    def took(self, attempt: RunWebhookAttempt) -> str:
        return columns.seconds(attempt.ended_at - attempt.started_at if attempt.ended_at else None)


class RunWebhookAdmin(ReadOnlyAdmin):
    """Of the address only its host is shown, as the rest may hold a token. What has failed can be tried again."""

    list_display = ("created_at", "host", "requester", "status_pill", "tries", "error")
    list_filter = ("status",)
    list_select_related = ("run__user",)
    search_fields = ("host", "run__user__username", "run__id__exact", "id__exact")
    search_help_text = gettext_lazy("Host, requester, or a whole id of a run or webhook")
    fields = (
        "id",
        "run",
        "requester",
        "host",
        "status_pill",
        "created_at",
        "due_at",
        "settled_at",
        "tries",
        "error",
    )
    inlines = (AttemptInline,)
    actions = ("try_again",)

    @admin.display(description=gettext_lazy("requester"), ordering="run__user__username")
    def requester(self, webhook: RunWebhook) -> str:
        return webhook.run.user.get_username()

    @admin.display(description=gettext_lazy("status"), ordering="status")
    def status_pill(self, webhook: RunWebhook) -> str:
        return columns.pill(webhook.status, webhook.get_status_display())

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("runtime.change_runwebhook")

    @admin.action(description=gettext_lazy("Try the failed ones again"), permissions=["retry"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[RunWebhook]) -> None:
        count = RunWebhook.retry(queryset)  # the workers look for what is due every two seconds
        told = ngettext("%(count)d is tried again.", "%(count)d are tried again.", count) % {"count": count}
        messages.info(request, told if count else _("None of them has failed."))
