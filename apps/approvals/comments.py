"""What approvers tell one another about a request. The requester, of all people, does not read it."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from django import forms
from django.db import transaction
from django.utils.translation import gettext_lazy
from runtime import events

from apps.approvals.fields import unix_lines
from apps.approvals.models import ApprovalRequest, Comment


class CommentForm(forms.Form):
    text = forms.CharField(
        label=gettext_lazy("Comment"),
        max_length=2000,
        widget=forms.Textarea({"rows": 2}),
        error_messages={"required": gettext_lazy("Write something first.")},
    )


def may_read(user: User, request: ApprovalRequest) -> bool:
    """Of those who may view the request, everybody but the requester: superusers among them too."""
    return request.tool_call.user_id != user.pk


@transaction.atomic
def add(request: ApprovalRequest, author: User, text: str) -> Comment:
    """Open pages show it at once."""
    transaction.on_commit(lambda: events.notify("approvals"))
    return Comment.objects.create(request=request, author=author, text=unix_lines(text))


def context(request: ApprovalRequest, user: User, form: CommentForm | None = None) -> dict[str, Any]:
    if not may_read(user, request):
        return {"may_comment": False}
    return {
        "may_comment": True,
        "comments": request.comments.select_related("author"),
        "comment_form": form or CommentForm(auto_id="comment-%s"),
    }
