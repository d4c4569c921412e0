"""Who has to countersign what, what was asked of them, and what stands in their place."""

from apps.approvals.models.requests import ApprovalRequest, Comment, RequestStatus, Vote, Way
from apps.approvals.models.rule_changes import RuleChange
from apps.approvals.models.rules import (
    Condition,
    DecisionKind,
    EditBound,
    Operator,
    PolicyRule,
    Risk,
    RuleVersion,
)
from apps.approvals.models.standing import Delegation, Grant, GrantUse
from apps.approvals.models.views import SavedView

__all__ = [
    "ApprovalRequest",
    "Comment",
    "Condition",
    "DecisionKind",
    "Delegation",
    "EditBound",
    "Grant",
    "GrantUse",
    "Operator",
    "PolicyRule",
    "RequestStatus",
    "Risk",
    "RuleChange",
    "RuleVersion",
    "SavedView",
    "Vote",
    "Way",
]
