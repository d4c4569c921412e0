"""Changes of the policy that wait for a second person: how they are made in the admin, and where they are settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_protect
from runtime.exceptions import RuntimeRefusal

from apps.approvals import four_eyes
from apps.approvals.models import PolicyRule, RuleChange
from apps.approvals.permissions import person
from apps.approvals.version_admin import ReadOnly, as_list
from apps.approvals.versions import differences

if TYPE_CHECKING:
    RuleModelAdmin = admin.ModelAdmin[PolicyRule]
    ChangeModelAdmin = admin.ModelAdmin[RuleChange]
else:
    RuleModelAdmin = ChangeModelAdmin = admin.ModelAdmin

RULES = "admin:approvals_policyrule_changelist"


class Proposed(Exception):
    """What the form, or the deletion, would have made of the policy."""

    def __init__(self, *changes: tuple[int | None, dict[str, Any] | None]) -> None:
        self.changes = changes


class FourEyes(RuleModelAdmin):
    """Saves and deletes as ever and, where two have to agree, takes it back and proposes what would have become."""

    def hold(self, *changes: tuple[int | None, dict[str, Any] | None]) -> None:
        if settings.POLICY_FOUR_EYES:
            raise Proposed(*changes)

    def delete_model(self, request: HttpRequest, obj: PolicyRule) -> None:
        self.hold((obj.pk, None))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PolicyRule]) -> None:
        self.hold(*((pk, None) for pk in queryset.values_list("pk", flat=True)))
        super().delete_queryset(request, queryset)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except Proposed as proposed:
            return _propose(request, proposed)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().delete_view(request, *args, **kwargs)
        except Proposed as proposed:
            return _propose(request, proposed)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with transaction.atomic():  # as Django does for one; it logs a deletion before it deletes
                return super().changelist_view(request, *args, **kwargs)
        except Proposed as proposed:
            return _propose(request, proposed)


def _propose(request: HttpRequest, proposed: Proposed) -> HttpResponse:
    for rule_id, after in proposed.changes:
        rule = PolicyRule.objects.filter(pk=rule_id).first() if rule_id is not None else None
        try:
            change = four_eyes.propose(person(request), rule, after)
        except RuntimeRefusal as refusal:
            messages.error(request, str(refusal))
            continue
        link = format_html('<a href="{}">{}</a>', url_of(change), change)
        told = _(
            "Proposed: {}. It takes effect when somebody else countersigns it. Until then nothing changes."
        )
        messages.warning(request, format_html(told, link))
    return HttpResponseRedirect(reverse(RULES))


def url_of(change: RuleChange) -> str:
    return reverse("admin:approvals_rulechange_change", args=[change.pk])


class SettleForm(forms.Form):
    reason = forms.CharField(required=False, max_length=2000, strip=True)


@admin.register(RuleChange)
class RuleChangeAdmin(ReadOnly, ChangeModelAdmin):
    """For whoever may look at rules; countersigned by who may change them, and did not propose it."""

    list_display = ["__str__", "status", "proposed_by", "proposed_at", "settled_by"]
    list_filter = ["status"]
    list_select_related = ["proposed_by", "settled_by"]
    fields = [
        *("name", "kind", "status", "proposed_by", "proposed_at", "would_change", "meaning"),
        *("settled_by", "settled_at", "reason"),
    ]
    readonly_fields = ["would_change", "meaning"]
    change_form_template = "admin/approvals/rulechange/change_form.html"

    def has_view_permission(self, request: HttpRequest, obj: RuleChange | None = None) -> bool:
        return person(request).has_perm("approvals.view_policyrule")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and (
            settings.POLICY_FOUR_EYES or RuleChange.objects.filter(status="proposed").exists()
        )

    @admin.display(description=gettext_lazy("what changes"))
    def would_change(self, change: RuleChange) -> SafeString:
        return as_list(differences(change.before, change.after))

    @admin.display(description=gettext_lazy("what it would mean"))
    def meaning(self, change: RuleChange) -> str:
        return four_eyes.meaning(change) or _("The rule goes; what it was about is judged by the others.")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.settle_view)
        return [
            path("<int:change_id>/settle/", view, name="approvals_rulechange_settle"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        change, user = kwargs["obj"], person(request)
        is_open = change.status == RuleChange.Status.PROPOSED
        context |= {
            "objection": four_eyes.objection_to(user, change),
            "may_settle": is_open and four_eyes.may_settle(user, change),
            "is_open": is_open,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @method_decorator(csrf_protect)
    def settle_view(self, request: HttpRequest, change_id: int) -> HttpResponse:
        """Countersigns or declines one change. Posted only."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        change = RuleChange.objects.filter(pk=change_id).first()
        settle = {"countersign": four_eyes.countersign, "decline": four_eyes.decline}.get(
            request.POST.get("settle", "")
        )
        form = SettleForm(request.POST)
        if change is None or settle is None or not form.is_valid():
            raise Http404
        try:
            settled = settle(person(request), change.pk, form.cleaned_data["reason"])
        except RuntimeRefusal as refusal:
            messages.error(request, str(refusal))
            return HttpResponseRedirect(url_of(change))
        self.log_change(request, settled, str(settled.get_status_display()))
        messages.success(request, f"{settled}: {settled.get_status_display()}.")
        return HttpResponseRedirect(reverse(RULES))
