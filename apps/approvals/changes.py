"""What an approver changes, shown against the call as it stands."""

from __future__ import annotations

import json

from django.forms import BoundField
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from apps.approvals import visible
from apps.approvals.fields import ArgumentField, unix_lines


def as_it_stands(bound: BoundField) -> SafeString:
    """The value of an argument's field before anybody touched it; hidden while the field still shows it.

    approvals-changes.js shows it, and which part was changed, as soon as somebody types.
    """
    if not isinstance(bound.field, ArgumentField):
        return SafeString("")
    original = unix_lines(bound.field.initial)
    is_changed = bound.form.is_bound and unix_lines(str(bound.value() or "")) != original
    return format_html(
        '<div class="change" data-original="{}"{}>{} <code>{}</code></div>',
        json.dumps(original),
        SafeString("" if is_changed else " hidden"),
        _("as it stands:"),
        visible.visible(original) if original else _("(empty)"),
    )
