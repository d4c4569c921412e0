"""The export as the admin offers it: buttons for the filtered list, actions for the chosen rows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from runtime import audit
from runtime.models import ToolCall

from apps.observability import downloads, export
from apps.observability.access import EXPORT_TOOL_CALLS
from apps.observability.downloads import TooManyDownloads

if TYPE_CHECKING:
    from django.db.models import QuerySet

    ToolCallModelAdmin = admin.ModelAdmin[ToolCall]
else:
    ToolCallModelAdmin = admin.ModelAdmin

logger = logging.getLogger(__name__)


class ExportsToolCalls(ToolCallModelAdmin):
    """A list of tool calls that those with the permission can take home."""

    change_list_template = "observability/tool_call_list.html"
    actions = ("export_as_csv", "export_as_jsonl")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        name = "runtime_toolcall_export"
        kinds = [
            path(f"export/{kind}/", view, {"kind": kind}, f"{name}_{kind}") for kind in export.CONTENT_TYPES
        ]
        return [*kinds, *super().get_urls()]

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm(EXPORT_TOOL_CALLS)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        urls = self._export_urls(request) if self.has_export_permission(request) else {}
        return super().changelist_view(request, {**(extra_context or {}), "export_urls": urls})

    def _export_urls(self, request: HttpRequest) -> dict[str, str]:
        """The buttons take the list's filters along."""
        filters = f"?{request.GET.urlencode()}" if request.GET else ""
        return {
            kind: reverse(f"admin:runtime_toolcall_export_{kind}") + filters for kind in export.CONTENT_TYPES
        }

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponse | StreamingHttpResponse:
        if not self.has_export_permission(request):
            raise PermissionDenied
        try:
            calls = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters as error:
            raise BadRequest("A filter's value can't be read.") from error
        return self._export(request, calls, kind)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[ToolCall], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Django's own fails where a chosen row's id is none."""
        try:
            return super().response_action(request, queryset, *args, **kwargs)
        except ValidationError as error:
            raise BadRequest("A chosen row's id can't be read.") from error

    @admin.action(permissions=["export"], description=_("Export the chosen tool calls as CSV"))
    def export_as_csv(
        self, request: HttpRequest, queryset: QuerySet[ToolCall]
    ) -> HttpResponse | StreamingHttpResponse:
        return self._export(request, queryset, "csv")

    @admin.action(permissions=["export"], description=_("Export the chosen tool calls as JSON lines"))
    def export_as_jsonl(
        self, request: HttpRequest, queryset: QuerySet[ToolCall]
    ) -> HttpResponse | StreamingHttpResponse:
        return self._export(request, queryset, "jsonl")

    def _export(
        self, request: HttpRequest, calls: QuerySet[ToolCall], kind: str
    ) -> HttpResponse | StreamingHttpResponse:
        try:
            download = downloads.begin(request.user.pk or 0)
        except TooManyDownloads as refusal:
            wait = {"Retry-After": str(refusal.retry_after)}
            return HttpResponse(
                str(refusal), status=429, content_type="text/plain; charset=utf-8", headers=wait
            )
        extra = {"action": "tool_calls_exported", "user_id": request.user.pk, "kind": kind}
        logger.info("tool calls exported", extra=extra)
        after = {"kind": kind, "filters": request.GET.urlencode()}
        audit.append("tool_call.exported", subject=("tool_call", ""), after=after)
        return export.response(download, calls, kind)
