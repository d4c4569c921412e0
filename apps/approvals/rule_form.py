"""A line of the policy as people fill it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from accounts.models import User
from django import forms
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.approvals.conditions import objections
from apps.approvals.models import Condition, DecisionKind, EditBound, PolicyRule
from apps.approvals.models.rules import Comparison, every_decision

if TYPE_CHECKING:
    PolicyRuleModelForm = forms.ModelForm[PolicyRule]
    ComparisonModelForm = forms.ModelForm[Comparison]
else:
    PolicyRuleModelForm = ComparisonModelForm = forms.ModelForm

ABOUT = ("name", "is_enabled", "assistant", "tool", "priority")
BECOMES = ("verdict", "risk")
DECIDE = ("approvers", "people", "quorum", "requester_confirms")
MAY = ("decisions", "needs_reason", "may_be_granted")
NOBODY = ("remind_after", "expires_after", "on_expiry", "escalate_to")


class PolicyRuleForm(PolicyRuleModelForm):
    decisions = forms.MultipleChoiceField(
        label=gettext_lazy("Decisions"),
        choices=DecisionKind.choices,
        initial=every_decision,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("For “ask a person”: what those who decide may choose from."),
    )

    class Meta:
        model = PolicyRule
        fields: ClassVar = [*ABOUT, *BECOMES, *DECIDE, *MAY, *NOBODY]
        help_texts: ClassVar = {
            "name": gettext_lazy("Kept with every call the rule is used on. Say what it is for."),
            "is_enabled": gettext_lazy("A rule that is switched off is as good as absent."),
            "assistant": gettext_lazy(
                "Graph id of the assistant, such as shop. * matches any, shop* a beginning."
            ),
            "tool": gettext_lazy("Name of the tool, such as refund_order. * matches any, *_order an ending."),
            "verdict": gettext_lazy(
                "Deny wins over every other rule. Without any rule, sensitive tools are denied and others run."
            ),
            "risk": gettext_lazy("Shown to those who decide, so that the gravest is looked at first."),
            "approvers": gettext_lazy(
                "For “ask a person”: the group whose members decide. Nobody decides on a call of their own run."
            ),
            "people": gettext_lazy("They decide too, whatever groups they are in."),
            "quorum": gettext_lazy("How many different people have to approve. One who rejects is enough."),
            "requester_confirms": gettext_lazy(
                "The person who asked is shown the call in the chat and confirms it. For what is theirs to risk."
            ),
            "needs_reason": gettext_lazy("Who approves has to write why. Rejecting always needs a reason."),
            "may_be_granted": gettext_lazy(
                "Those who decide may let further calls like the one they see run without asking, for a while."
            ),
            "remind_after": gettext_lazy("Those who are asked are told again then. Empty: they are not."),
            "expires_after": gettext_lazy(
                "For “ask a person”: a call that nobody has decided on by then does not run, and its turn goes on "
                "without it. Empty: it waits for ever."
            ),
            "on_expiry": gettext_lazy("When nobody has decided in time."),
            "escalate_to": gettext_lazy("Needed when another group is asked."),
            "priority": gettext_lazy(
                "Among rules that match and do not deny, the lowest number is the one that counts."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "people" in self.fields:  # not on the page of who may only look
            self._offer_staff()

    def _offer_staff(self) -> None:
        """Only staff gets to the queue. Who was named before stays on the list."""
        may_be_named = Q(is_staff=True, is_active=True)
        if self.instance.pk:
            may_be_named |= Q(pk__in=self.instance.people.values("pk"))
        people: Any = self.fields["people"]
        people.queryset = User.objects.filter(may_be_named).order_by("username")
        people.widget.widget.verbose_name = gettext_lazy("people")  # "Chosen people", "Remove all people"

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("verdict") == PolicyRule.Verdict.ASK:
            self._check_who_decides(data)
            if not data.get("decisions"):
                self.add_error("decisions", _("Tick what those who decide may choose from."))
        elif not data.get("decisions"):
            data["decisions"] = every_decision()
        return data

    def _check_who_decides(self, data: dict[str, Any]) -> None:
        if (
            data.get("requester_confirms")
            or data.get("approvers")
            or {"approvers", "people"} & {*self.errors}
        ):
            return
        count = len(data.get("people") or ())
        if not count:
            self.add_error("approvers", _("Say which group decides."))
        elif count < (data.get("quorum") or 1):
            self.add_error("quorum", _("Fewer people than that are named: name more, or a group."))


class ComparisonForm(ComparisonModelForm):
    """One row. What can't be compared is said here, not when a call comes."""

    is_bound_of_edits = False

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if {"argument", "operator", "value"} <= data.keys():
            found = objections(
                data["argument"], data["operator"], data["value"], is_bound=self.is_bound_of_edits
            )
            for field, problem in found.items():
                self.add_error(field, problem)
        return data


class ConditionForm(ComparisonForm):
    class Meta:
        model = Condition
        fields: ClassVar = ["argument", "operator", "value"]
        help_texts: ClassVar = {
            "argument": gettext_lazy(
                "amount, order.total, items[].price; or requester.group, time.hour, time.weekday, calls.today, "
                "sum.amount.today"
            ),
            "value": gettext_lazy("A number, a text, a list with commas, or a path such as /etc."),
        }


class EditBoundForm(ComparisonForm):
    is_bound_of_edits = True

    class Meta:
        model = EditBound
        fields: ClassVar = ["argument", "operator", "value"]
        help_texts: ClassVar = {
            "argument": gettext_lazy("An argument that may be changed: amount, order.total, items[].price."),
            "value": gettext_lazy("What it has to keep to once it was changed."),
        }
