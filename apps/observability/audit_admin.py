"""The audit's pages: what was done, event by event, and whether the chain was found whole."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from runtime.models import AuditEvent

from apps.observability import columns
from apps.observability.read_only import ReadOnlyAdmin

# Where the pages of a subject are.
PAGES = {
    "tool_call": "runtime_toolcall",
    "run": "runtime_run",
    "thread": "runtime_thread",
    "user": "accounts_user",
    "group": "auth_group",
    "policy_rule": "approvals_policyrule",
}


class AuditEventAdmin(ReadOnlyAdmin):
    """One line an event, newest first."""

    change_list_template = "observability/audit_list.html"
    date_hierarchy = "at"
    list_display = ("seq", "at", "actor", "action", "subject", "reason")
    list_display_links = ("seq", "at")
    list_filter = ("at", "action", "subject_kind", "actor")
    search_fields = ("body",)
    search_help_text = _("Any text of the event: a name, an id, an address, a field's value")
    fieldsets = (
        (None, {"fields": ("seq", "at", "action", "subject", "thread")}),
        (_("Who"), {"fields": ("actor", "actor_id", "address", "request_id")}),
        (_("What"), {"fields": ("changes", "reason")}),
        (_("Chain"), {"fields": ("previous", "hash", "as_hashed")}),
    )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        looked = AuditEvent.objects.filter(action="audit.verified").order_by("-seq").first()
        found = {"looked": looked, "verdict": looked.told["after"] if looked else {}}
        return super().changelist_view(request, {**(extra_context or {}), **found})

    @admin.display(description=_("subject"))
    def subject(self, event: AuditEvent) -> str:
        text = f"{event.subject_kind} {event.subject_id}".strip()
        try:
            url = reverse(f"admin:{PAGES[event.subject_kind]}_change", args=[event.subject_id])
        except (KeyError, NoReverseMatch):
            return text
        return format_html('<a href="{}">{}</a>', url, text)

    @admin.display(description=_("reason"))
    def reason(self, event: AuditEvent) -> str:
        return str(event.told["reason"]) or "-"

    @admin.display(description=_("thread"))
    def thread(self, event: AuditEvent) -> str:
        return event.thread_id or "-"

    @admin.display(description=_("address"))
    def address(self, event: AuditEvent) -> str:
        return event.told["address"] or "-"

    @admin.display(description=_("request id"))
    def request_id(self, event: AuditEvent) -> str:
        return event.told["request_id"] or "-"

    @admin.display(description=_("changes"))
    def changes(self, event: AuditEvent) -> str:
        return columns.changes_block(event.told["before"], event.told["after"])

    @admin.display(description=_("text that was hashed"))
    def as_hashed(self, event: AuditEvent) -> str:
        return columns.text_block(event.body)
