"""What a rule said while it was used: read-only, for whoever may look at rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.approvals.models import PolicyRule, RuleVersion
from apps.approvals.versions import Change, changes, said

if TYPE_CHECKING:
    VersionModelAdmin = admin.ModelAdmin[RuleVersion]
    VersionTabular = admin.TabularInline[RuleVersion, PolicyRule]
else:
    VersionModelAdmin, VersionTabular = admin.ModelAdmin, admin.TabularInline


class ReadOnly:
    """Columns of a version, and nobody who could change one."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("changed from the version before"))
    def changed(self, version: RuleVersion) -> SafeString:
        return as_list(changes(version))

    @admin.display(description=gettext_lazy("what it said"))
    def what_it_said(self, version: RuleVersion) -> SafeString:
        rows = format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", said(version))
        return format_html('<dl class="facts">{}</dl>', rows)

    @admin.display(description=gettext_lazy("version"))
    def link(self, version: RuleVersion) -> SafeString:
        url = reverse("admin:approvals_ruleversion_change", args=[version.pk])
        return format_html('<a href="{}">{}</a>', url, _("version %(number)s") % {"number": version.number})


def as_list(found: list[Change]) -> SafeString:
    """A plain diff."""
    if not found:
        return format_html('<span class="quiet">{}</span>', _("nothing"))
    lines = format_html_join("", "<li>{}: <del>{}</del> → <ins>{}</ins></li>", found)
    return format_html('<ul class="plain">{}</ul>', lines)


class VersionInline(ReadOnly, VersionTabular):
    """On the rule's page: when each version was first used, and what was new in it."""

    model = RuleVersion
    fields = ["link", "created_at", "changed"]
    readonly_fields = ["link", "created_at", "changed"]
    ordering = ["-number"]
    extra = 0
    can_delete = False
    verbose_name_plural = gettext_lazy("versions, kept from the first call each was used on")


@admin.register(RuleVersion)
class RuleVersionAdmin(ReadOnly, VersionModelAdmin):
    """Reached from a rule and from a decision; not listed on the index."""

    list_display = ["__str__", "created_at"]
    list_select_related = ["rule"]
    fields = ["name", "rule", "number", "created_at", "what_it_said", "changed"]
    readonly_fields = ["what_it_said", "changed"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False
