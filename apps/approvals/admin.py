"""The queue and the decision page in the admin. Nothing here writes a decision: the service does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
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

from apps.approvals import (
    bulk,
    columns,
    comments,
    grants,
    page,
    queue,
)
from apps.approvals import rule_admin as _rules  # noqa: F401  (these register their pages)
from apps.approvals import standing_admin as _standing  # noqa: F401
from apps.approvals import version_admin as _versions  # noqa: F401
from apps.approvals.answers import AnswerForm
from apps.approvals.decisions import decide_request
from apps.approvals.filters import (
    GroupFilter,
    MineFilter,
    RequestAdmin,
    Requests,
    StatusFilter,
    ToolFilter,
)
from apps.approvals.forms import ArgumentsForm, DecisionForm, decision_form
from apps.approvals.grant_form import GrantForm
from apps.approvals.models import ApprovalRequest
from apps.approvals.models.requests import URGENCY
from apps.approvals.notifications import admin as _notifications  # noqa: F401
from apps.approvals.page import WIDE
from apps.approvals.permissions import DECIDE, decidable, person

DECISION_TEMPLATE = "admin/approvals/approvalrequest/change_form.html"


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(RequestAdmin):
    """Read-only for everybody, superusers too: a request changes by a decision and by nothing else."""

    list_display = queue.WAITING_COLUMNS
    list_display_links = [columns.tool]
    list_filter = [
        StatusFilter,
        MineFilter,
        ("risk", admin.ChoicesFieldListFilter),
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
    ordering = URGENCY
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
        return queue.ordering(request)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return queue.shown_columns(request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return queue.QueueList

    def get_urls(self) -> list[URLPattern]:
        views: list[tuple[str, Callable[..., HttpResponse], str]] = [
            ("<uuid:request_id>/decide/", self.decide_view, "decide"),
            ("<uuid:request_id>/grant/", self.grant_view, "grant"),
            ("<uuid:request_id>/comment/", self.comment_view, "comment"),
            ("views/", self.keep_saved_view, "save_view"),
            ("views/<int:view_id>/delete/", self.forget_saved_view, "delete_view"),
        ]
        wrap = self.admin_site.admin_view
        ours = [
            path(route, wrap(view), name=f"approvals_approvalrequest_{name}") for route, view, name in views
        ]
        return [*ours, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        around = queue.context(request) if self.has_view_permission(request) else {}
        context = {**WIDE, "title": _("Approvals"), **around, **(extra_context or {})}
        return super().changelist_view(request, context)

    @method_decorator(csrf_protect)
    def keep_saved_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return queue.save_view(request)

    @method_decorator(csrf_protect)
    def forget_saved_view(self, request: HttpRequest, view_id: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return queue.delete_view(request, view_id)

    @method_decorator(csrf_protect)
    def comment_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """Adds a comment. Posted only."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        approval = self._visible_request(request, str(request_id))
        form = comments.CommentForm(request.POST)
        if not comments.may_read(person(request), approval):
            raise PermissionDenied
        if not form.is_valid():
            return self._page(request, approval, comment_form=form, status=422)
        comments.add(approval, person(request), form.cleaned_data["text"])
        change = reverse("admin:approvals_approvalrequest_change", args=[approval.pk])
        return HttpResponseRedirect(f"{change}#comments")

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
        comment_form: comments.CommentForm | None = None,
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
            **comments.context(approval, person(request), comment_form),
            "title": page.heading(approval),
            "opts": self.opts,
        }
        return TemplateResponse(request, DECISION_TEMPLATE, context, status=status)

    def _next(self, request: HttpRequest) -> str:
        """The page of the most urgent request that waits for this person, else the queue."""
        waiting = decidable(person(request)).order_by(*URGENCY).first()
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
