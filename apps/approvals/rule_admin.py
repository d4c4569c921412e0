"""The policy in the admin: its rules, what they mean, and what a change would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.options import InlineModelAdmin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import BaseInlineFormSet, all_valid
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.approvals.four_eyes import whole
from apps.approvals.matching import Candidate
from apps.approvals.meaning import sentences
from apps.approvals.models import Condition, EditBound, PolicyRule, RuleChange
from apps.approvals.permissions import person
from apps.approvals.rule_change_admin import FourEyes
from apps.approvals.rule_form import (
    ABOUT,
    BECOMES,
    DECIDE,
    MAY,
    NOBODY,
    ConditionForm,
    EditBoundForm,
    PolicyRuleForm,
)
from apps.approvals.try_pages import compare_context, try_context
from apps.approvals.tryout import compared
from apps.approvals.version_admin import VersionInline

if TYPE_CHECKING:
    Tabular = admin.TabularInline[Any, PolicyRule]
    FormSet = BaseInlineFormSet[Any, PolicyRule, Any]
else:
    Tabular, FormSet = admin.TabularInline, BaseInlineFormSet

EDIT = "approvals.change_policyrule"
ADD = "approvals.add_policyrule"


class RowInline(Tabular):
    """Part of its rule: whoever may edit the one may edit the other."""

    extra = 1

    def has_view_permission(self, request: HttpRequest, obj: PolicyRule | None = None) -> bool:
        return person(request).has_perm("approvals.view_policyrule") or self._may_edit(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: PolicyRule | None = None) -> bool:
        return self._may_edit(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: PolicyRule | None = None) -> bool:
        return self._may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: PolicyRule | None = None) -> bool:
        return self._may_edit(request, obj)

    def _may_edit(self, request: HttpRequest, obj: PolicyRule | None) -> bool:
        return person(request).has_perm(ADD if obj is None or obj.pk is None else EDIT)


class ConditionInline(RowInline):
    model = Condition
    form = ConditionForm


class EditBoundInline(RowInline):
    model = EditBound
    form = EditBoundForm


@admin.register(PolicyRule)
class PolicyRuleAdmin(FourEyes):
    form = PolicyRuleForm
    inlines: ClassVar[list[type[InlineModelAdmin[Any, PolicyRule]]]] = [
        ConditionInline,
        EditBoundInline,
        VersionInline,
    ]
    fieldsets = [
        (None, {"fields": ["meaning"]}),
        (gettext_lazy("What it is about"), {"fields": ABOUT}),
        (gettext_lazy("What becomes of it"), {"fields": BECOMES}),
        (gettext_lazy("Who decides"), {"fields": DECIDE}),
        (gettext_lazy("What they may do"), {"fields": MAY}),
        (gettext_lazy("When nobody decides"), {"fields": NOBODY}),
    ]
    readonly_fields = ["meaning"]
    filter_horizontal = ["people"]
    list_display = ["name", "meaning", "priority", "is_enabled", "updated_at"]
    list_filter = ["verdict", "is_enabled", "approvers"]
    list_select_related = ["approvers", "escalate_to"]
    search_fields = ["name", "tool", "assistant"]
    save_as = False
    change_form_template = "admin/approvals/policyrule/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[PolicyRule]:
        return super().get_queryset(request).prefetch_related("conditions", "bounds", "people")

    def get_inlines(
        self, request: HttpRequest, obj: PolicyRule | None
    ) -> list[type[InlineModelAdmin[Any, PolicyRule]]]:
        return [ConditionInline, EditBoundInline] if obj is None else self.inlines

    @admin.display(description=gettext_lazy("what it means"))
    def meaning(self, rule: PolicyRule) -> str:
        return rule.meaning if rule.pk else _("It is said here once the rule is saved.")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Said last: conditions and people are part of what a rule means."""
        super().save_related(request, form, formsets, change)
        saved = PolicyRule.objects.get(pk=form.instance.pk)
        self.hold((saved.pk if change else None, whole(saved)))
        messages.info(request, _("From now on: %(meaning)s") % {"meaning": saved.meaning})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        open_changes = RuleChange.objects.filter(rule=kwargs["obj"], status=RuleChange.Status.PROPOSED)
        context["open_change"] = open_changes.first() if kwargs["obj"] else None
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("try/", view(self.try_view), name="approvals_policyrule_try"),
            path("add/compare/", view(self.compare_view), name="approvals_policyrule_compare_new"),
            path("<int:rule_id>/compare/", view(self.compare_view), name="approvals_policyrule_compare"),
            *super().get_urls(),
        ]

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """Which rule a call would meet, and why. Posted, because arguments have no place in an address."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._page(request, "try.html", _("Try a call"), try_context(request))

    def compare_view(self, request: HttpRequest, rule_id: int | None = None) -> HttpResponse:
        """What the form as it was posted would have changed last week. Saves nothing."""
        rule = self._to_be_edited(request, rule_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = cast(
            PolicyRuleForm,
            self.get_form(request, rule, change=rule is not None)(
                request.POST, instance=PolicyRule.objects.get(pk=rule.pk) if rule else None
            ),
        )
        is_valid = form.is_valid()
        formsets = self._row_formsets(request, form.instance)
        title = _("What would have changed")
        if not all_valid(formsets) or not is_valid:
            context = {"rule": rule, "problems": list(_problems(form, formsets))}
            return self._page(request, "compare.html", title, context, status=422)
        conditions, bounds = (_kept(formset) for formset in formsets)
        comparison = compared(rule, Candidate(form.instance, conditions))
        meaning = sentences(
            form.instance, conditions=conditions, bounds=bounds, people=form.cleaned_data["people"]
        )
        context = compare_context(comparison, person(request), self.admin_site)
        return self._page(request, "compare.html", title, {**context, "rule": rule, "meaning": meaning})

    def _to_be_edited(self, request: HttpRequest, rule_id: int | None) -> PolicyRule | None:
        """None for a new rule. Raises PermissionDenied and Http404."""
        rule = None if rule_id is None else self.get_object(request, str(rule_id))
        if not (
            self.has_add_permission(request) if rule_id is None else self.has_change_permission(request, rule)
        ):
            raise PermissionDenied
        if rule_id is not None and rule is None:
            raise Http404
        return rule

    def _row_formsets(self, request: HttpRequest, rule: PolicyRule) -> list[FormSet]:
        """Of conditions and bounds, as posted."""
        made = []
        for inline in (ConditionInline, EditBoundInline):
            kind = inline(PolicyRule, self.admin_site).get_formset(request, rule)
            rows = inline.model._default_manager.all() if rule.pk else inline.model._default_manager.none()
            made.append(kind(request.POST, instance=rule, prefix=kind.get_default_prefix(), queryset=rows))
        return made

    def _page(
        self, request: HttpRequest, template: str, title: str, context: dict[str, Any], *, status: int = 200
    ) -> HttpResponse:
        frame = {**self.admin_site.each_context(request), "title": title, "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/approvals/policyrule/{template}", frame, status=status)


def _kept(formset: FormSet) -> list[Any]:
    """The rows as they would be saved: without empty ones and those ticked for deletion."""
    gone = set(formset.deleted_forms)
    wanted = (form for form in formset.forms if form not in gone and form.cleaned_data.get("argument"))
    return [form.instance for form in wanted]


def _problems(form: Any, formsets: list[FormSet]) -> Any:
    """(field, what is wrong) for everything in the form."""
    for each in (form, *(row for formset in formsets for row in formset.forms)):
        for name, errors in each.errors.items():
            field = each.fields.get(name)
            yield (field.label or name) if field else "", " ".join(errors)
