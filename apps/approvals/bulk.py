"""Several requests decided together: listed in full first, then one by one through the decision service."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from accounts.models import User
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from runtime.exceptions import RuntimeRefusal
from runtime.schemas import Decision, DecisionType

from apps.approvals import page
from apps.approvals.decisions import already, decide_request
from apps.approvals.filters import RequestAdmin, Requests
from apps.approvals.forms import BulkForm
from apps.approvals.models import ApprovalRequest, Risk
from apps.approvals.permissions import objection_to, person

LIMIT = 50  # requests in one go: more than anybody reads

CONFIRM_TEMPLATE = "admin/approvals/approvalrequest/confirm.html"


@admin.action(description=gettext_lazy("Approve the selected requests"), permissions=["decide"])
def approve_selected(
    model_admin: RequestAdmin, request: HttpRequest, queryset: Requests
) -> HttpResponse | None:
    return _bulk(model_admin, request, queryset, "approve")


@admin.action(description=gettext_lazy("Reject the selected requests"), permissions=["decide"])
def reject_selected(
    model_admin: RequestAdmin, request: HttpRequest, queryset: Requests
) -> HttpResponse | None:
    return _bulk(model_admin, request, queryset, "reject")


def _bulk(
    model_admin: RequestAdmin, request: HttpRequest, queryset: Requests, kind: DecisionType
) -> HttpResponse | None:
    is_confirmed = "confirmed" in request.POST
    # The list's own filters would leave out, in silence, what was decided since the page was shown.
    chosen = _chosen(model_admin, request) if is_confirmed else queryset
    requests = list(chosen.select_related("rule").order_by("created_at")[: LIMIT + 1])
    refusal = _refusal(requests, kind)
    if refusal:
        model_admin.message_user(request, refusal, messages.ERROR)
        return None
    form = BulkForm(request.POST if is_confirmed and kind == "reject" else None)
    left_out = _left_out(person(request), requests, kind, shown_rule=request.POST.get("rule"))
    if is_confirmed and (kind == "approve" or form.is_valid()):
        note = form.cleaned_data["reason"] if kind == "reject" else ""
        _decide_each(model_admin, request, requests, Decision(type=kind, message=note), left_out)
        return None
    return _confirmation(model_admin, request, requests, kind, form, left_out)


def _chosen(model_admin: RequestAdmin, request: HttpRequest) -> Requests:
    ids = []
    for text in request.POST.getlist(ACTION_CHECKBOX_NAME):
        try:
            ids.append(UUID(text))
        except ValueError:
            continue
    return model_admin.get_queryset(request).filter(pk__in=ids)


def _refusal(requests: list[ApprovalRequest], kind: DecisionType) -> str:
    """Why these can't be decided together; empty when they can."""
    if len(requests) > LIMIT:
        return _("At most %(limit)s requests are decided together. Select fewer.") % {"limit": LIMIT}
    if kind == "approve" and len({item.tool_call.tool for item in requests}) > 1:
        return _("Calls of one tool are approved together, not of several. Filter by tool first.")
    return ""


def _left_out(
    user: User, requests: list[ApprovalRequest], kind: DecisionType, *, shown_rule: str | None = None
) -> dict[UUID, str]:
    """Why each of those that are left out is: by its key.

    `shown_rule`: whose requests the page listed as those to be approved. Somebody may have decided the first since.
    """
    objections = {item.pk: _objection(user, item) for item in requests}
    if kind == "approve":
        objections |= {
            item.pk: _("High risk: decide it by itself, on its own page.")
            for item in requests
            if item.risk == Risk.HIGH and not objections[item.pk]
        }
        fit = [item for item in requests if not objections[item.pk]]
        rule = _rule_of(fit[0]) if fit and shown_rule is None else shown_rule
        objections |= {item.pk: _by_another_rule(item) for item in fit if _rule_of(item) != rule}
    return {pk: why for pk, why in objections.items() if why}


def _rule_of(item: ApprovalRequest) -> str:
    return str(item.rule_id or "")


def _by_another_rule(item: ApprovalRequest) -> str:
    if item.rule is None:
        return _("No rule asks for this one: decide it by itself, on its own page.")
    return _("Another rule asks for this one, %(rule)s: approve what one rule asks for together.") % {
        "rule": item.rule
    }


def _objection(user: User, item: ApprovalRequest) -> str:
    """Why this one is left out; empty when it is decided with the others."""
    if not item.is_pending:
        return str(already(item))
    if item.question == ApprovalRequest.Question.OUTCOME:
        return _("A call that was cut off is decided on its own page.")
    return objection_to(user, item)


def _confirmation(
    model_admin: RequestAdmin,
    request: HttpRequest,
    requests: list[ApprovalRequest],
    kind: DecisionType,
    form: BulkForm,
    left_out: dict[UUID, str],
) -> HttpResponse:
    rows = [
        {"approval": item, "args": page.arguments(item.tool_call), "objection": left_out.get(item.pk, "")}
        for item in requests
    ]
    included = [item for item in requests if item.pk not in left_out]
    count = len(included)
    approve = ngettext("Approve %(count)s request?", "Approve %(count)s requests?", count)
    reject = ngettext("Reject %(count)s request?", "Reject %(count)s requests?", count)
    context = {
        **model_admin.admin_site.each_context(request),
        **page.WIDE,
        "title": (approve if kind == "approve" else reject) % {"count": count},
        "opts": model_admin.opts,
        "rows": rows,
        "count": count,
        "kind": kind,
        "rule": _rule_of(included[0]) if included and kind == "approve" else None,
        "form": form,
        "action": f"{kind}_selected",
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, CONFIRM_TEMPLATE, context, status=422 if form.errors else 200)


def _decide_each(
    model_admin: RequestAdmin,
    request: HttpRequest,
    requests: Iterable[ApprovalRequest],
    decision: Decision,
    left_out: dict[UUID, str],
) -> None:
    """Each in a transaction of its own: one that is refused takes no other with it."""
    user = person(request)
    for item in requests:
        digest = request.POST.get(f"digest-{item.pk}", "")
        problem = left_out.get(item.pk) or _decide(user, item, Decision(**{**decision, "digest": digest}))
        if problem:
            told = format_html(_("Not decided: {}. {}"), page.summary(item.tool_call), problem)
            model_admin.message_user(request, told, messages.ERROR)
        else:
            model_admin.message_user(request, page.outcome(item), messages.SUCCESS)


def _decide(user: User, item: ApprovalRequest, decision: Decision) -> str:
    """Empty when it was decided, else why it was not."""
    try:
        decide_request(user, item.pk, decision)
    except RuntimeRefusal as refusal:
        return str(refusal)
    return ""
