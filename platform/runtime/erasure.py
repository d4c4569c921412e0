"""A person's data is erased; the record of what was decided and done stays, of somebody without a name.

Their row stays, empty: decisions, votes and the audit's events name it by its number. The audit's chain keeps the name
they signed in by where it was written down, and nothing else of theirs: nothing is ever taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from accounts.models import Factor, User
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.db import models, transaction
from django.db.models.functions import Now
from django.dispatch import Signal

from runtime import audit, retention
from runtime.exceptions import RuntimeRefusal
from runtime.models import ACTIVE, TOOL_TRANSITIONS, Run, Thread, ToolCall

# Asked before: person. A receiver returns a list of what is in the way, each a sentence that says what to do.
erasing = Signal()


class NotErased(RuntimeRefusal):
    """Something of the person's is under way. The message says what, and what to do."""


def obstacles(person: User) -> list[str]:
    """What has to end first, and how."""
    runs = Run.objects.filter(user=person, status__in=ACTIVE).count()
    calls = ToolCall.objects.filter(user=person, state__in=TOOL_TRANSITIONS).count()
    found = []
    if runs:
        found.append(f"{runs} runs of theirs are under way. Stop them, or wait for their end.")
    if calls:
        found.append(f"{calls} tool calls of theirs are not settled. Decide on them, or withdraw them.")
    if person.is_superuser and not _other_superusers(person).exists():
        found.append("They are the only superuser who can sign in. Make another one first.")
    for _receiver, more in erasing.send(User, person=person):
        found += more or []
    return found


def _other_superusers(person: User) -> models.QuerySet[User]:
    return User.objects.filter(is_superuser=True, is_active=True).exclude(pk=person.pk)


def counted(person: User) -> dict[str, int]:
    """How many rows of each kind would go."""
    counts = {_kind(model): rows.count() for model, rows in _owned(person)}
    return {**counts, "session": len(_sessions(person))}


@transaction.atomic
def erase(person: User) -> dict[str, int]:
    """Deletes what is theirs and empties their row; how many rows of each kind went. Raises NotErased."""
    person = User.objects.select_for_update().get(pk=person.pk)
    # Locked as create_run locks them: a message that comes now finds no thread, or is in the way.
    thread_ids = list(Thread.objects.filter(owner=person).select_for_update().values_list("pk", flat=True))
    if found := obstacles(person):
        raise NotErased(" ".join(found))
    counts = counted(person)
    # First of all, so that whatever is told of the rest names nobody.
    audit.append("user.erased", subject=("user", str(person.pk)), before=counts)
    retention.forget(thread_ids)
    for _model, rows in _owned(person):
        rows.delete()
    Factor.objects.filter(owner=person).delete()
    for key in _sessions(person):
        _session_model().objects.filter(session_key=key).delete()
    for model in (AccessAttempt, AccessFailureLog, AccessLog):
        model.objects.filter(username=person.username).delete()
    person.groups.clear()
    person.user_permissions.clear()
    # An update, which sends no signals: the audit would keep the name for ever.
    User.objects.filter(pk=person.pk).update(
        username=f"erased-{person.pk}",
        email="",
        first_name="",
        last_name="",
        password=make_password(None),
        is_active=False,
        is_staff=False,
        is_superuser=False,
        last_login=None,
        date_joined=Now(),
    )
    return counts


def _owned(person: User) -> Iterator[tuple[type[models.Model], models.QuerySet[Any]]]:
    """What would go with the row itself, threads first: the rest hangs on them."""
    fields: Any = User._meta.get_fields(include_hidden=True)  # most are hidden: nobody asks for them by name
    relations = [each for each in fields if getattr(each, "on_delete", None) is models.CASCADE]
    for relation in sorted(relations, key=lambda each: each.related_model is not Thread):
        model: Any = relation.related_model
        if model._meta.auto_created:
            continue  # memberships of groups: cleared with the person
        yield model, model._base_manager.filter(**{relation.field.name: person})


def _kind(model: type[models.Model]) -> str:
    return str(model._meta.verbose_name_plural)


def _session_model() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore.get_model_class()


def _sessions(person: User) -> list[str]:
    """Whose a session is stands inside of it."""
    rows = _session_model().objects.all()
    return [row.session_key for row in rows if str(row.get_decoded().get(SESSION_KEY)) == str(person.pk)]
