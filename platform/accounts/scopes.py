"""What a key may be used for. A closed list: each scope stands for one permission its owner needs as well."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import User


class Scope(models.TextChoices):
    CHAT = "chat", _("Chat: start runs, read and change one's own threads")
    APPROVE = "approve", _("Approve: decide on tool calls")
    AUDIT = "audit", _("Audit: read the record of what was done")
    ASSISTANTS = "assistants", _("Assistants: change what is offered to people")


EVERY_SCOPE = frozenset(Scope)

PERMISSIONS = {
    Scope.CHAT: "runtime.add_run",
    Scope.APPROVE: "approvals.decide",
    Scope.AUDIT: "runtime.view_auditevent",
    Scope.ASSISTANTS: "runtime.change_assistant",
}


def scopes_of(user: User) -> list[Scope]:
    """Those that would give a key of theirs anything, in the order of the list."""
    return [scope for scope in Scope if user.has_perm(PERMISSIONS[scope])]
