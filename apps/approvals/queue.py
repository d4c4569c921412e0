"""The list as people look at it: its tabs, its order, the views they saved of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.db.models.expressions import Combinable
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    QueryDict,
)
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.approvals import columns, stranded
from apps.approvals.filters import (
    DECIDED,
    EVERYBODYS,
    NEWEST_DECISION,
    MineFilter,
    Requests,
    StatusFilter,
    is_waiting,
)
from apps.approvals.models import SavedView
from apps.approvals.models.requests import URGENCY
from apps.approvals.permissions import BREAK_GLASS, DECIDE, person

QUEUE = "admin:approvals_approvalrequest_changelist"
VIEWS = 20  # that one person may save
FILTERS = ("mine", "status", "risk__exact", "tool", "group", "question__exact", SEARCH_VAR)
"""What a saved view keeps; a page and a column's number mean something else tomorrow."""

WAITING_COLUMNS: list[Any] = [
    columns.risk,
    columns.tool,
    columns.arguments,
    columns.requester,
    columns.why,
    columns.asked,
    columns.expires,
]
DECIDED_COLUMNS: list[Any] = [
    columns.tool,
    columns.arguments,
    columns.requester,
    columns.risk,
    columns.decided,
    columns.outcome,
]


class Tab(NamedTuple):
    name: str
    label: str
    query: str
    is_open: bool


class QueueList(ChangeList):
    def apply_select_related(self, qs: Requests) -> Requests:
        return super().apply_select_related(qs).prefetch_related("votes")


def ordering(request: HttpRequest) -> list[str | Combinable]:
    return order_of(waiting=is_waiting(request))


def order_of(*, waiting: bool) -> list[str | Combinable]:
    """What is urgent comes first; of what is settled, the newest."""
    return list(URGENCY) if waiting else [NEWEST_DECISION, "-created_at", "pk"]


def shown_columns(request: HttpRequest) -> list[Any]:
    return WAITING_COLUMNS if is_waiting(request) else DECIDED_COLUMNS


def tabs(request: HttpRequest) -> list[Tab]:
    """The filters and the search go along from tab to tab."""
    is_mine = MineFilter.is_mine(request)
    waits = is_waiting(request)
    found = [
        Tab("all", _("All waiting"), _query(request, mine=EVERYBODYS), waits and not is_mine),
        Tab("decided", _("Decided"), _query(request, status=DECIDED), not waits),
    ]
    if person(request).has_perm(DECIDE):
        found.insert(0, Tab("mine", _("My queue"), _query(request), waits and is_mine))
    return found


def _query(request: HttpRequest, **chosen: str) -> str:
    kept = _kept(request.GET)
    for name in (MineFilter.parameter_name, StatusFilter.parameter_name):
        kept.pop(name, None)
    kept.update(chosen)
    return f"?{kept.urlencode()}"


def _kept(query: QueryDict) -> QueryDict:
    """The filters and the search of a query, and nothing else of it."""
    kept = QueryDict(mutable=True)
    for name in FILTERS:
        if query.get(name):
            kept[name] = str(query[name])
    return kept


def context(request: HttpRequest) -> dict[str, Any]:
    """What the list's page shows around the list."""
    current = _kept(request.GET).urlencode()
    user = person(request)
    mine = SavedView.objects.filter(owner=user)
    return {
        **(stranded.told_of() if user.has_perm(BREAK_GLASS) else {}),
        "tabs": tabs(request),
        "is_mine": MineFilter.is_mine(request),
        "is_waiting_list": not any(name not in ("mine", ORDER_VAR) for name in request.GET),
        "saved_views": [(view, view.query == current) for view in mine],
        "current_query": current,
    }


class SavedViewForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=60, widget=forms.TextInput({"autocomplete": "off"})
    )
    query = forms.CharField(required=False, max_length=1000)


def save_view(request: HttpRequest) -> HttpResponse:
    """Keeps the filters and the search under a name; the same name again replaces it. Posted only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    form = SavedViewForm(request.POST)
    query = _kept(QueryDict(request.POST.get("query", "")[:1000])).urlencode()
    views = SavedView.objects.filter(owner=person(request))
    if not form.is_valid():
        messages.error(request, _("Give the view a name of at most 60 characters."))
    elif views.exclude(name=form.cleaned_data["name"]).count() >= VIEWS:
        messages.error(request, _("You have %(count)s views. Delete one first.") % {"count": VIEWS})
    else:
        name = form.cleaned_data["name"]
        SavedView.objects.update_or_create(owner=person(request), name=name, defaults={"query": query})
        messages.success(request, _("Saved as “%(name)s”.") % {"name": name})
    return HttpResponseRedirect(f"{reverse(QUEUE)}?{query}")


def delete_view(request: HttpRequest, view_id: int) -> HttpResponse:
    """Somebody else's view is as absent as one that never was. Posted only."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not SavedView.objects.filter(owner=person(request), pk=view_id).delete()[0]:
        raise Http404
    messages.success(request, _("The view was deleted."))
    return HttpResponseRedirect(reverse(QUEUE))
