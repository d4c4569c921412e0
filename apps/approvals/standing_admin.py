"""Delegations and grants in the admin: what stands in an approver's place, and how it is ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from accounts.models import User
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from runtime.exceptions import RuntimeRefusal

from apps.approvals import grants
from apps.approvals.models import Delegation, Grant
from apps.approvals.permissions import DECIDE, person

if TYPE_CHECKING:
    DelegationModelAdmin = admin.ModelAdmin[Delegation]
    GrantModelAdmin = admin.ModelAdmin[Grant]
else:
    DelegationModelAdmin = GrantModelAdmin = admin.ModelAdmin


GRACE = timedelta(hours=1)  # a form that lay open for a while


@admin.register(Delegation)
class DelegationAdmin(DelegationModelAdmin):
    """People delegate their own right; a superuser anybody's. What was delegated is ended, never rewritten."""

    list_display = ["delegator", "delegate", "starts_at", "ends_at", "state", "reason"]
    list_select_related = ["delegator", "delegate"]
    actions = ["end"]

    def get_fields(self, request: HttpRequest, obj: Delegation | None = None) -> Any:
        own = ["delegate", "starts_at", "ends_at", "reason"]
        return own if obj is None and not person(request).is_superuser else ["delegator", *own]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        options["queryset"] = User.objects.filter(is_active=True, is_staff=True).order_by("username")
        return super().formfield_for_foreignkey(db_field, request, **options)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delegation]:
        """Approvers see those they gave and got; who audits or administers sees all."""
        user, delegations = person(request), super().get_queryset(request)
        if user.is_superuser or not user.has_perm(DECIDE):
            return delegations
        return delegations.filter(Q(delegator=user) | Q(delegate=user))

    def has_change_permission(self, request: HttpRequest, obj: Delegation | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Delegation | None = None) -> bool:
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request)

    def get_form(
        self, request: HttpRequest, obj: Delegation | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """A person's own delegation is checked as theirs, though the form does not ask whose it is."""
        form = super().get_form(request, obj, change, **kwargs)
        user = person(request)

        class OwnForm(form):  # type: ignore[misc, valid-type]
            def _post_clean(self) -> None:
                if "delegator" not in self.fields:
                    self.instance.delegator = user
                super()._post_clean()
                self._refuse_own_gain()

            def _refuse_own_gain(self) -> None:
                made = self.instance
                if made.delegate_id == user.pk and made.delegator_id != user.pk:
                    self.add_error("delegate", _("Nobody delegates another person's right to themselves."))
                if made.starts_at and made.starts_at < timezone.now() - GRACE:
                    self.add_error("starts_at", _("It begins in the past."))

        return OwnForm

    @admin.display(description=gettext_lazy("state"))
    def state(self, delegation: Delegation) -> str:
        now = timezone.now()
        if delegation.revoked_at:
            return _("ended early")
        if delegation.ends_at <= now:
            return _("ended")
        return _("in force") if delegation.starts_at <= now else _("to come")

    @admin.action(description=gettext_lazy("End the selected delegations now"), permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[Delegation]) -> None:
        user = person(request)
        mine = queryset if user.is_superuser else queryset.filter(delegator=user)
        in_force = mine.filter(revoked_at__isnull=True, ends_at__gt=timezone.now())
        for delegation in in_force:
            delegation.revoked_at = timezone.now()
            delegation.save(update_fields=["revoked_at"])
            messages.success(request, _("Ended: %(delegation)s.") % {"delegation": delegation})


@admin.register(Grant)
class GrantAdmin(GrantModelAdmin):
    """Read-only: a grant is given on a decision page, used by the policy, and revoked here."""

    list_display = ["tool", "user", "created_by", "shown_uses", "ends_at", "state", "reason"]
    list_filter = ["tool", ("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["tool", "user__username", "created_by__username"]
    list_select_related = ["user", "created_by"]
    fields: ClassVar[Any] = [
        "tool",
        "assistant",
        "user",
        "thread",
        "pattern",
        "shown_uses",
        "ends_at",
        "state",
        "reason",
        "created_by",
        "created_at",
        "revoked_by",
        "revoked_at",
    ]
    readonly_fields = fields
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Grant | None = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return person(request).has_perm(grants.REVOKE)

    @admin.display(description=gettext_lazy("used"))
    def shown_uses(self, grant: Grant) -> str:
        return _("%(used)s of %(limit)s") % {"used": grant.used, "limit": grant.limit}

    @admin.display(description=gettext_lazy("state"))
    def state(self, grant: Grant) -> str:
        if grant.revoked_at:
            return _("revoked")
        if grant.ends_at <= timezone.now():
            return _("ended")
        return _("in force") if grant.used < grant.limit else _("used up")

    @admin.action(description=gettext_lazy("Revoke the selected grants"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Grant]) -> None:
        for grant in queryset:
            try:
                grants.revoke(person(request), grant)
            except RuntimeRefusal as refusal:
                messages.error(request, str(refusal))
            else:
                messages.success(request, _("Revoked: %(grant)s.") % {"grant": grant})
