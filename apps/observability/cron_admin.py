"""Crons in the admin: whose, when next, what came of the last times; paused and resumed by operators."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from runtime import crons
from runtime.models import Cron, CronTurn

from apps.observability import columns
from apps.observability.read_only import ReadOnlyAdmin

TURNS = 20  # that are shown


class CronAdmin(ReadOnlyAdmin):
    """What a cron begins is its owner's to change; whether it begins anything, an operator's, too."""

    list_display = (
        "owner",
        "assistant",
        "schedule_shown",
        "key",
        "is_enabled",
        "next_run_at",
        "last_run",
        "problem",
    )
    list_filter = ("is_enabled", ("assistant", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("owner", "key", "assistant")
    search_fields = ("owner__username", "id__exact", "thread__id__exact")
    search_help_text = gettext_lazy("Owner, or a whole id of a cron or thread")
    fields = (
        "id",
        "owner",
        "key",
        "assistant",
        "thread",
        "schedule_shown",
        "is_enabled",
        "next_run_at",
        "end_time",
        "on_run_completed",
        "problem",
        "payload_shown",
        "turns_shown",
        "created_at",
        "updated_at",
    )
    actions = ("pause", "resume")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("runtime.change_cron")

    @admin.display(description=gettext_lazy("schedule"), ordering="schedule")
    def schedule_shown(self, cron: Cron) -> str:
        return str(cron)

    @admin.display(description=gettext_lazy("last run"))
    def last_run(self, cron: Cron) -> str:
        turn = cron.turns.order_by("-due_at").first()
        return _told(turn) if turn else "-"

    @admin.display(description=gettext_lazy("payload"))
    def payload_shown(self, cron: Cron) -> str:
        return columns.json_block(cron.payload)

    @admin.display(description=gettext_lazy("last times"))
    def turns_shown(self, cron: Cron) -> str:
        rows = [(_told(turn), turn.problem) for turn in cron.turns.order_by("-due_at")[:TURNS]]
        items = format_html_join("", "<li>{} {}</li>", rows)
        return format_html('<ul class="audit-events">{}</ul>', items) if rows else "-"

    @admin.action(description=gettext_lazy("Pause"), permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Cron]) -> None:
        count = crons.set_enabled(queryset, False)
        told = ngettext("%(count)d is paused.", "%(count)d are paused.", count) % {"count": count}
        messages.info(request, told if count else _("All of them were paused before."))

    @admin.action(description=gettext_lazy("Resume"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Cron]) -> None:
        count = crons.set_enabled(queryset, True)
        told = ngettext("%(count)d goes on.", "%(count)d go on.", count) % {"count": count}
        messages.info(request, told if count else _("None of them was paused."))


def _told(turn: CronTurn) -> Any:
    """When it was due, with the way to its run."""
    when = date_format(localtime(turn.due_at), "SHORT_DATETIME_FORMAT")
    if turn.run_id is None:
        return when
    return format_html('<a href="{}">{}</a>', reverse("admin:runtime_run_change", args=[turn.run_id]), when)
