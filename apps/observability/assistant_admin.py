"""Assistants in the admin: how they present themselves, their versions, and the way back to one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_protect
from runtime import assistants
from runtime.exceptions import RuntimeRefusal
from runtime.models import Assistant, AssistantVersion

from apps.observability import columns
from apps.observability.assistant_form import AssistantForm
from apps.observability.read_only import ReadOnlyAdmin

MAY_CHANGE = "runtime.change_assistant"


class AssistantAdmin(ReadOnlyAdmin):
    """Operators may change how an assistant presents itself."""

    form = AssistantForm
    list_display = ("name", "graph_id", "version", "is_active", "retired_at", "updated_at")
    list_filter = ("is_active",)
    search_fields = ("name", "graph_id")
    fields = (
        "name",
        "description",
        "starters",
        "is_active",
        "id",
        "graph_id",
        "config_shown",
        "context_shown",
        "version",
        "retired_at",
        "created_at",
        "updated_at",
        "versions_shown",
    )
    readonly_fields = (
        "id",
        "graph_id",
        "config_shown",
        "context_shown",
        "version",
        "retired_at",
        "created_at",
        "updated_at",
        "versions_shown",
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(MAY_CHANGE)

    @admin.display(description=gettext_lazy("configuration"))
    def config_shown(self, assistant: Assistant) -> str:
        return columns.json_block(assistant.config)

    @admin.display(description=gettext_lazy("context"))
    def context_shown(self, assistant: Assistant) -> str:
        return columns.json_block(assistant.context)

    @admin.display(description=gettext_lazy("versions"))
    def versions_shown(self, assistant: Assistant) -> str:
        """Newest first."""
        rows = (
            (
                reverse("admin:runtime_assistantversion_change", args=[version.pk]),
                _("version %(number)s") % {"number": version.number},
                date_format(localtime(version.created_at), "SHORT_DATETIME_FORMAT"),
                version.name,
                _("in use") if version.number == assistant.version else "",
            )
            for version in assistant.versions.order_by("-number")
        )
        items = format_html_join("", '<li><a href="{}">{}</a> {} {} <strong>{}</strong></li>', rows)
        return format_html('<ul class="audit-events">{}</ul>', items)


class AssistantVersionAdmin(ReadOnlyAdmin):
    """Reached from the assistant's page; not listed on the index."""

    list_display = ("__str__", "created_at")
    list_select_related = ("assistant",)
    fields = (
        "assistant",
        "number",
        "created_at",
        "graph_id",
        "name",
        "description",
        "config_shown",
        "context_shown",
        "metadata_shown",
        "runs_link",
    )
    change_form_template = "admin/runtime/assistantversion/change_form.html"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        use = path(
            "<int:version_id>/use/",
            self.admin_site.admin_view(self.use_view),
            name="runtime_assistantversion_use",
        )
        return [use, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        version = self.get_object(request, object_id)
        is_offered = (
            version is not None
            and request.user.has_perm(MAY_CHANGE)
            and version.assistant.retired_at is None
            and version.number != version.assistant.version
        )
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), "may_use": is_offered}
        )

    @method_decorator(csrf_protect)
    def use_view(self, request: HttpRequest, version_id: int) -> HttpResponse:
        """What begins from now on is performed with that version."""
        if not request.user.has_perm(MAY_CHANGE):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        version = AssistantVersion.objects.filter(pk=version_id).first()
        if version is None:
            raise Http404
        try:
            assistants.use_version(version.assistant_id, version.number)
            messages.success(request, _("Version %(number)s is in use.") % {"number": version.number})
        except RuntimeRefusal as refusal:
            messages.error(request, str(refusal))
        except Assistant.DoesNotExist:
            messages.error(request, _("This assistant was retired. Offer it again first."))
        return HttpResponseRedirect(reverse("admin:runtime_assistant_change", args=[version.assistant_id]))

    @admin.display(description=gettext_lazy("configuration"))
    def config_shown(self, version: AssistantVersion) -> str:
        return columns.json_block(version.config)

    @admin.display(description=gettext_lazy("context"))
    def context_shown(self, version: AssistantVersion) -> str:
        return columns.json_block(version.context)

    @admin.display(description=gettext_lazy("metadata"))
    def metadata_shown(self, version: AssistantVersion) -> str:
        return columns.json_block(version.metadata)

    @admin.display(description=gettext_lazy("runs"))
    def runs_link(self, version: AssistantVersion) -> str:
        return columns.listed("run", _("Runs of this version"), version__id__exact=version.pk)
