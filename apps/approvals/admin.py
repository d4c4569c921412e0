"""The queue, the decision page and the policy in the admin. Nothing here writes a decision: the service does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models.expressions import Combinable
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_protect
from runtime.exceptions import InvalidDecision, RuntimeRefusal
from runtime.schemas import Decision

from apps.approvals import bulk, columns, grants, page, standing_admin  # noqa: F401  (registers its models)
from apps.approvals.answers import AnswerForm
from apps.approvals.decisions import decide_request
from apps.approvals.filters import (
    ALL,
    GroupFilter,
    MineFilter,
    RequestAdmin,
    Requests,
    StatusFilter,
    ToolFilter,
)
from apps.approvals.forms import ArgumentsForm, DecisionForm, PolicyRuleForm, decision_form
from apps.approvals.grant_form import GrantForm
from apps.approvals.models import ApprovalRequest, PolicyRule
from apps.approvals.page import WIDE
from apps.approvals.permissions import DECIDE, decidable, person

if TYPE_CHECKING:
    RuleAdmin = admin.ModelAdmin[PolicyRule]
else:
    RuleAdmin = admin.ModelAdmin

DECISION_TEMPLATE = "admin/approvals/approvalrequest/change_form.html"


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(RequestAdmin):
    """Read-only for everybody, superusers too: a request changes by a decision and by nothing else."""

    list_display = [
        columns.tool,
        columns.arguments,
        columns.requester,
        columns.why,
        columns.asked,
        columns.status,
    ]
    list_filter = [
        StatusFilter,
        MineFilter,
        ToolFilter,
        GroupFilter,
        ("question", admin.ChoicesFieldListFilter),
    ]
    search_fields = [
        "tool_call__user__username",
        "tool_call__user__first_name",
        "tool_call__user__last_name",
        "tool_call__tool",
        "tool_call__args",
    ]
    search_help_text = gettext_lazy("Requester, tool, or a text in the arguments")
    list_select_related = ["tool_call__user", "tool_call__assistant", "tool_call__thread", "decided_by"]
    list_per_page = 50
    show_full_result_count = False
    actions = [bulk.approve_selected, bulk.reject_selected]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApprovalRequest | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApprovalRequest | None = None) -> bool:
        return False

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm(DECIDE)

    def get_ordering(self, request: HttpRequest) -> list[str | Combinable]:
        """Who has waited longest comes first; of what is settled, the newest."""
        chosen = request.GET.get(StatusFilter.parameter_name, "")
        return ["created_at"] if chosen in ("", ALL) else ["-created_at"]

    def get_urls(self) -> list[URLPattern]:
        decide = path(
            "<uuid:request_id>/decide/",
            self.admin_site.admin_view(self.decide_view),
            name="approvals_approvalrequest_decide",
        )
        grant = path(
            "<uuid:request_id>/grant/",
            self.admin_site.admin_view(self.grant_view),
            name="approvals_approvalrequest_grant",
        )
        return [decide, grant, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            **WIDE,
            "title": _("Approvals"),
            "is_waiting_list": not request.GET,
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def response_action(
        self, request: HttpRequest, queryset: Requests, *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        try:
            return super().response_action(request, queryset, *args, **kwargs)
        except ValidationError:  # a ticked id that is none: Django's own admin answers 500
            messages.error(request, _("Select requests from the list."))
            return HttpResponseRedirect(request.get_full_path())

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return self._page(request, self._visible_request(request, object_id))

    @method_decorator(csrf_protect)
    def decide_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """Takes one decision on one request. Posted only."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        approval = self._visible_request(request, str(request_id))
        call = approval.tool_call
        form = decision_form(approval, request.POST)
        arguments_form = page.arguments_form(call, request.POST)
        try:
            _decide(request, approval, form, arguments_form)
        except RuntimeRefusal as refusal:
            messages.error(request, str(refusal))
            approval.refresh_from_db()
            forms = (form, arguments_form) if refusal.status == InvalidDecision.status else (None, None)
            return self._page(request, approval, *forms, status=refusal.status)
        messages.success(request, page.outcome(approval))
        return HttpResponseRedirect(self._next(request))

    @method_decorator(csrf_protect)
    def grant_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """Approves one request and allows calls like it for a while. Posted only."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        approval = self._visible_request(request, str(request_id))
        form = GrantForm(approval.tool_call, request.POST)
        try:
            _grant(request, approval, form)
        except RuntimeRefusal as refusal:
            messages.error(request, str(refusal))
            approval.refresh_from_db()
            shown = form if refusal.status == InvalidDecision.status else None
            return self._page(request, approval, grant_form=shown, status=refusal.status)
        messages.success(request, page.outcome(approval))
        messages.info(request, _("Calls like it run without asking for now. Revoke that under Grants."))
        return HttpResponseRedirect(self._next(request))

    def _visible_request(self, request: HttpRequest, object_id: str) -> ApprovalRequest:
        approval = self.get_object(request, object_id)
        if not self.has_view_permission(request, approval):
            raise PermissionDenied
        if approval is None:
            raise Http404
        return approval

    def _page(
        self,
        request: HttpRequest,
        approval: ApprovalRequest,
        form: DecisionForm | None = None,
        arguments_form: ArgumentsForm | None = None,
        *,
        grant_form: GrantForm | None = None,
        status: int = 200,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            **WIDE,
            **page.context(
                approval,
                person(request),
                posted=form,
                filled_in=arguments_form,
                grant_form=grant_form,
            ),
            "title": page.heading(approval),
            "opts": self.opts,
        }
        return TemplateResponse(request, DECISION_TEMPLATE, context, status=status)

    def _next(self, request: HttpRequest) -> str:
        """The page of the request that waits longest for this person, else the queue."""
        waiting = decidable(person(request)).order_by("created_at").first()
        if waiting is None:
            return reverse("admin:approvals_approvalrequest_changelist")
        return reverse("admin:approvals_approvalrequest_change", args=[waiting.pk])


def _decide(
    request: HttpRequest, approval: ApprovalRequest, form: DecisionForm, arguments_form: ArgumentsForm
) -> None:
    """Hands what was posted to the decision service. Raises its refusals, and InvalidDecision for a bad form."""
    if not form.is_valid():
        raise InvalidDecision(_("Nothing was decided. Please mend what is marked."))
    decision = form.as_decision()
    is_answer = isinstance(arguments_form, AnswerForm) and decision["type"] == "respond"
    if decision["type"] == "edit" or is_answer:
        if not arguments_form.is_valid():
            raise InvalidDecision(_("Nothing was decided. Please mend what is marked."))
        if isinstance(arguments_form, AnswerForm):
            decision["answer"] = arguments_form.answer
        else:
            decision["args"] = arguments_form.cleaned_data
    elif decision["type"] == "approve" and (touched := arguments_form.touched):
        raise InvalidDecision(
            _("You changed %(names)s. Press “Approve with changes”, or Reset first. Nothing was decided.")
            % {"names": ", ".join(touched)}
        )
    decide_request(person(request), approval.pk, decision)


@transaction.atomic
def _grant(request: HttpRequest, approval: ApprovalRequest, form: GrantForm) -> None:
    """The grant and the approval, or neither."""
    if not form.is_valid():
        raise InvalidDecision(_("Nothing was decided. Please mend what is marked."))
    user, terms = person(request), form.as_grant()
    grants.give(user, approval, terms.pop("pattern"), **terms)
    decision = Decision(type="approve", message=terms["reason"], digest=request.POST.get("digest", ""))
    decide_request(user, approval.pk, decision)


@admin.register(PolicyRule)
class PolicyRuleAdmin(RuleAdmin):
    form = PolicyRuleForm
    list_display = ["name", "meaning", "priority", "is_enabled", "updated_at"]
    list_filter = ["verdict", "is_enabled", "approvers"]
    list_select_related = ["approvers"]
    search_fields = ["name", "tool", "assistant"]
    save_as = False

    @admin.display(description=gettext_lazy("what it means"))
    def meaning(self, rule: PolicyRule) -> str:
        return rule.meaning

    def save_model(self, request: HttpRequest, obj: PolicyRule, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        messages.info(request, _("From now on: %(meaning)s") % {"meaning": obj.meaning})
