"""The audit: everything there is about a tool call, a run, a thread. Nobody changes it here, superusers included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django_rq.models import Dashboard
from runtime import budgets
from runtime.models import (
    Assistant,
    AssistantVersion,
    AuditEvent,
    Cron,
    Message,
    Run,
    RunWebhook,
    Thread,
    ToolCall,
)

from apps.observability import (
    budget_admin,  # noqa: F401  (registers its pages)
    columns,
)
from apps.observability.access import may_use_queues
from apps.observability.assistant_admin import AssistantAdmin, AssistantVersionAdmin
from apps.observability.audit_admin import AuditEventAdmin
from apps.observability.audit_export import ExportsToolCalls
from apps.observability.cron_admin import CronAdmin
from apps.observability.read_only import ReadOnlyAdmin
from apps.observability.timeline import chain_of, steps_of
from apps.observability.webhook_admin import RunWebhookAdmin

if TYPE_CHECKING:
    MessageTable = admin.TabularInline[Message, Thread]
else:
    MessageTable = admin.TabularInline


admin.site.register(AuditEvent, AuditEventAdmin)
admin.site.register(RunWebhook, RunWebhookAdmin)
admin.site.register(Cron, CronAdmin)
admin.site.register(Assistant, AssistantAdmin)
admin.site.register(AssistantVersion, AssistantVersionAdmin)


@admin.register(ToolCall)
class ToolCallAdmin(ExportsToolCalls, ReadOnlyAdmin):
    """One line a call; its page tells all of it, from the proposal to the result."""

    date_hierarchy = "created_at"
    list_display = ("created_at", "user", "assistant", "tool", "state_pill", "decision", "decided_by", "took")
    list_display_links = ("created_at", "tool")
    list_filter = ("state", "tool", "decision", "created_at", ("assistant", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("user", "assistant", "decided_by")
    search_fields = ("user__username", "tool", "args", "id__exact", "call_id__exact")
    search_help_text = _("Requester, tool, text in the arguments, or a whole id")
    fieldsets = (
        (
            _("Proposal"),
            {"fields": ("id", "created_at", "user", "assistant", "tool", "why_shown", "proposed")},
        ),
        (_("Judgement"), {"fields": ("state_pill", "policy", "sensitive", "effect")}),
        (_("Decision"), {"fields": ("decision", "decided_by", "decided_at", "reason")}),
        (_("Execution"), {"fields": ("as_run", "args_digest", "started_at", "finished_at", "took")}),
        (_("Outcome"), {"fields": ("result_shown", "error_shown")}),
        (_("Where"), {"fields": ("thread", "run", "call_id", "task_id")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if not request.user.has_perm("runtime.view_auditevent"):
            return self.fieldsets
        return (*self.fieldsets, (_("Audit"), {"fields": ("events",)}))

    @admin.display(description=_("events"))
    def events(self, call: ToolCall) -> str:
        return columns.events_block(
            AuditEvent.objects.filter(subject_kind="tool_call", subject_id=str(call.pk))
        )

    @admin.display(description=_("state"), ordering="state")
    def state_pill(self, call: ToolCall) -> str:
        return columns.pill(call.state, call.get_state_display())

    @admin.display(description=_("duration"))
    def took(self, call: ToolCall) -> str:
        return columns.seconds(call.duration)

    @admin.display(description=_("why, in the model's words"))
    def why_shown(self, call: ToolCall) -> str:
        return columns.text_block(call.why)

    @admin.display(description=_("arguments as proposed"))
    def proposed(self, call: ToolCall) -> str:
        return columns.json_block(call.proposed_args)

    @admin.display(description=_("arguments as run"))
    def as_run(self, call: ToolCall) -> str:
        return columns.json_block(call.args)

    @admin.display(description=_("result"))
    def result_shown(self, call: ToolCall) -> str:
        return columns.text_block(call.result)

    @admin.display(description=_("error"))
    def error_shown(self, call: ToolCall) -> str:
        return columns.text_block(call.error)


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """One line a turn; its page has the steps of the turn, resumptions included."""

    date_hierarchy = "created_at"
    list_display = (
        "created_at",
        "user",
        "assistant",
        "status_pill",
        "input_tokens",
        "output_tokens",
        "cost_shown",
        "took",
    )
    list_filter = ("status", "created_at", ("assistant", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("user", "assistant")
    search_fields = ("user__username", "error", "id__exact", "thread__id__exact")
    search_help_text = _("Requester, text of an error, or a whole id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "id",
                    "status_pill",
                    "user",
                    "assistant",
                    "version",
                    "thread",
                    "resumes",
                    "tool_calls_link",
                )
            },
        ),
        (_("Steps"), {"fields": ("steps",)}),
        (_("Times"), {"fields": ("created_at", "started_at", "ended_at", "took", "cancel_requested_at")}),
        (_("Cost"), {"fields": ("input_tokens", "output_tokens", "cost_shown", "model_calls_shown")}),
        (_("Error"), {"fields": ("error_type", "error_shown")}),
        (_("Worker"), {"fields": ("worker", "attempt", "lease_expires_at")}),
        (_("Input"), {"fields": ("input_shown", "command_shown")}),
    )

    @admin.display(description=_("status"), ordering="status")
    def status_pill(self, run: Run) -> str:
        return columns.pill(run.status, run.get_status_display())

    @admin.display(description=_("duration"))
    def took(self, run: Run) -> str:
        return columns.seconds(run.ended_at - run.started_at if run.ended_at and run.started_at else None)

    @admin.display(description=_("cost"), ordering="cost")
    def cost_shown(self, run: Run) -> str:
        return budgets.money(run.cost)

    @admin.display(description=_("model calls"))
    def model_calls_shown(self, run: Run) -> str:
        return columns.json_block(run.model_calls) if run.model_calls else "-"

    @admin.display(description=_("tool calls"))
    def tool_calls_link(self, run: Run) -> str:
        return columns.listed("toolcall", gettext("Tool calls of this run"), run__id__exact=run.pk)

    @admin.display(description=_("steps"))
    def steps(self, run: Run) -> str:
        return columns.steps_block(steps_of(chain_of(run)))

    @admin.display(description=_("error"))
    def error_shown(self, run: Run) -> str:
        return columns.text_block(run.error)

    @admin.display(description=_("input"))
    def input_shown(self, run: Run) -> str:
        return columns.json_block(run.input)

    @admin.display(description=_("command"))
    def command_shown(self, run: Run) -> str:
        return columns.json_block(run.command)


class MessageInline(MessageTable):
    """What was said. Comes with the permission to view the thread."""

    model = Message
    fields = readonly_fields = ("created_at", "role", "content", "is_partial")
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("runtime.view_thread")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Thread)
class ThreadAdmin(ReadOnlyAdmin):
    date_hierarchy = "updated_at"
    list_display = ("updated_at", "owner", "assistant", "title")
    list_filter = ("updated_at", ("assistant", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("owner", "assistant")
    search_fields = ("owner__username", "title", "id__exact")
    search_help_text = _("Owner, title, or a whole id")
    fields = ("id", "owner", "assistant", "title", "created_at", "updated_at", "runs_link", "tool_calls_link")
    inlines = (MessageInline,)

    @admin.display(description=_("runs"))
    def runs_link(self, thread: Thread) -> str:
        return columns.listed("run", gettext("Runs of this thread"), thread__id__exact=thread.pk)

    @admin.display(description=_("tool calls"))
    def tool_calls_link(self, thread: Thread) -> str:
        return columns.listed("toolcall", gettext("Tool calls of this thread"), thread__id__exact=thread.pk)


@admin.register(Dashboard)
class QueueLink(ReadOnlyAdmin):
    """Only the entry in the admin's index: the pages are in dashboard.py, each behind the same permission."""

    def get_urls(self) -> list[URLPattern]:
        return [
            path("", self.admin_site.admin_view(self.changelist_view), name="django_rq_dashboard_changelist")
        ]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_use_queues(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_use_queues(request)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("django_rq:home"))
