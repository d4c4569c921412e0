"""Webhooks, preferences and what became of deliveries, in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect

from apps.approvals.notifications import outbox
from apps.approvals.notifications.forms import GroupPreferenceForm, PreferenceForm, WebhookForm
from apps.approvals.notifications.models import (
    Channel,
    Delivery,
    DeliveryAttempt,
    GroupPreference,
    Kind,
    Preference,
    WebhookEndpoint,
)
from apps.approvals.permissions import DECIDE, person

if TYPE_CHECKING:
    EndpointAdmin = admin.ModelAdmin[WebhookEndpoint]
    GroupAdmin = admin.ModelAdmin[GroupPreference]
    OutboxAdmin = admin.ModelAdmin[Delivery]
    Attempts = admin.TabularInline[DeliveryAttempt, Delivery]
else:
    EndpointAdmin = GroupAdmin = OutboxAdmin = admin.ModelAdmin
    Attempts = admin.TabularInline

PREFERENCES_TEMPLATE = "admin/approvals/preferences.html"


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(EndpointAdmin):
    form = WebhookForm
    list_display = ["name", "format", "host", "group", "is_enabled", "last_result"]
    list_filter = ["format", "is_enabled", "group"]
    list_select_related = ["group"]
    search_fields = ["name"]
    fields = [
        "name",
        "is_enabled",
        "format",
        "url",
        "secret",
        "forget_secret",
        "group",
        "events",
        "last_result",
    ]
    readonly_fields = ["last_result"]
    change_form_template = "admin/approvals/webhookendpoint/change_form.html"

    def get_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> Any:
        """Who may only look does not get the address: a chat's holds the token to write to it."""
        if obj is not None and not self.has_change_permission(request, obj):
            return ["name", "is_enabled", "format", "host", "group", "events", "last_result"]
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> Any:
        return [*super().get_readonly_fields(request, obj), "host"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return admin.ModelAdmin.get_form(self, request, obj, change, **{**kwargs, "fields": ["name"]})
        return super().get_form(request, obj, change, **kwargs)

    @admin.display(description=gettext_lazy("host"))
    def host(self, endpoint: WebhookEndpoint) -> str:
        return endpoint.host

    @admin.display(description=gettext_lazy("last result"))
    def last_result(self, endpoint: WebhookEndpoint) -> str:
        attempt = DeliveryAttempt.objects.filter(delivery__endpoint=endpoint).order_by("-started_at").first()
        if attempt is None:
            return _("Nothing was sent so far.")
        told = attempt.error or attempt.get_outcome_display()
        url = reverse("admin:approvals_delivery_change", args=[attempt.delivery_id])
        return format_html('<a href="{}">{}: {}</a>', url, _when(attempt), told)

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        if "_test" in request.POST:
            return self._send_test(request, obj)
        return super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: WebhookEndpoint) -> HttpResponse:
        if "_test" in request.POST:
            return self._send_test(request, obj)
        return super().response_change(request, obj)

    def _send_test(self, request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
        """By the same way as everything else, so that what works here works there."""
        test = Delivery.objects.create(channel=Channel.WEBHOOK, kind=Kind.TEST, endpoint=endpoint)
        transaction.on_commit(lambda: outbox.enqueue([test.pk]))
        messages.info(request, _("Saved. A test is on its way: this page says what came of it."))
        return HttpResponseRedirect(reverse("admin:approvals_delivery_change", args=[test.pk]))


def _default_of(user: Any) -> Preference:
    """What holds until they choose."""
    group = GroupPreference.objects.filter(group__in=user.groups.all()).order_by("pk").first()
    preference = Preference(user=user, language=get_language() or "en")
    if group is not None:
        preference.mode, preference.every, preference.events = group.mode, group.every, group.events
    return preference


@admin.register(GroupPreference)
class GroupPreferenceAdmin(GroupAdmin):
    form = GroupPreferenceForm
    list_display = ["group", "mode", "every"]
    list_select_related = ["group"]

    def get_urls(self) -> list[URLPattern]:
        mine = path("mine/", self.admin_site.admin_view(self.mine_view), name="approvals_preference_mine")
        return [mine, *super().get_urls()]

    @method_decorator(csrf_protect)
    def mine_view(self, request: HttpRequest) -> HttpResponse:
        """The e-mail preferences of whoever is signed in and may decide."""
        user = person(request)
        if not user.has_perm(DECIDE):
            raise PermissionDenied
        chosen = Preference.objects.filter(user=user).first()
        preference = chosen or _default_of(user)
        form = PreferenceForm(request.POST or None, instance=preference)
        if request.method == "POST" and form.is_valid():
            form.save()
            messages.success(request, _("Saved."))
            return HttpResponseRedirect(reverse("admin:approvals_preference_mine"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("E-mail about approvals"),
            "form": form,
            "is_default": chosen is None,
        }
        return TemplateResponse(request, PREFERENCES_TEMPLATE, context, status=422 if form.errors else 200)


class AttemptInline(Attempts):
    model = DeliveryAttempt
    extra = 0
    can_delete = False
    fields = ["started_at", "took", "outcome", "http_status", "error"]
    readonly_fields = ["started_at", "took", "outcome", "http_status", "error"]
    ordering = ["started_at"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=gettext_lazy("duration"))
    def took(self, attempt: DeliveryAttempt) -> str:
        if attempt.ended_at is None:
            return ""
        seconds = (attempt.ended_at - attempt.started_at).total_seconds()
        return _("%(n).1f s") % {"n": seconds}


@admin.register(Delivery)
class DeliveryAdmin(OutboxAdmin):
    """What was told to whom. Nobody changes it; what has failed can be tried again."""

    list_display = ["created_at", "kind", "channel", "recipient", "status", "tries", "error"]
    list_filter = ["status", "channel", "kind"]
    list_select_related = ["person", "endpoint"]
    search_fields = ["person__username", "endpoint__name", "id__exact"]
    search_help_text = gettext_lazy("Person, webhook, or a whole id")
    show_full_result_count = False
    fields = [
        "id",
        "kind",
        "request",
        "channel",
        "recipient",
        "status",
        "created_at",
        "due_at",
        "settled_at",
        "error",
    ]
    inlines = [AttemptInline]
    actions = ["try_again"]
    change_form_template = "admin/approvals/delivery/change_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Delivery | None = None) -> list[str]:
        return [str(name) for name in self.fields or []]

    def save_model(self, request: HttpRequest, obj: Delivery, form: Any, change: bool) -> None:
        """Nothing: it would write back what the page has read, over what a worker has written since."""

    @admin.display(description=gettext_lazy("recipient"))
    def recipient(self, delivery: Delivery) -> str:
        return delivery.recipient

    @admin.action(description=gettext_lazy("Try the failed ones again"), permissions=["change"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        count = Delivery.retry(queryset)  # the workers look for what is due every two seconds
        told = ngettext("%(count)d is tried again.", "%(count)d are tried again.", count) % {"count": count}
        messages.info(request, told if count else _("None of them has failed."))

    def response_change(self, request: HttpRequest, obj: Delivery) -> HttpResponse:
        if "_again" in request.POST:
            self.try_again(request, Delivery.objects.filter(pk=obj.pk))
            return HttpResponseRedirect(request.path)
        return super().response_change(request, obj)


def _when(attempt: DeliveryAttempt) -> str:
    return date_format(localtime(attempt.started_at), "SHORT_DATETIME_FORMAT")
