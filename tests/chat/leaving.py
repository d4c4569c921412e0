"""Every way to lose what one follows a thread with, while one follows it."""

from __future__ import annotations

from datetime import timedelta

from accounts import roles, tokens
from accounts.callers import Credential
from accounts.models import ApiKey, TokenFamily
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import Client, override_settings
from django.utils import timezone
from runtime.models import Thread

from tests.chat.langgraph.conftest import key_of

WAYS = (
    "key revoked",
    "key expired",
    "token revoked",
    "token expired",
    "signed out",
    "switched off",
    "may not chat",
    "deleted",
)


def left(thread: Thread, how: str) -> Credential:
    """What the owner of the thread began to follow it with, before that came to an end in this way."""
    owner = thread.owner
    credential, page = Credential(key_of(owner)), Client()
    match how:
        case "token revoked":
            credential = Credential(tokens.issue(owner).access)
        case "token expired":
            with override_settings(ACCESS_TOKEN_SECONDS=0):
                credential = Credential(tokens.issue(owner).access)
        case "signed out":
            page.force_login(owner)
            credential = Credential(session_key=page.cookies[settings.SESSION_COOKIE_NAME].value)
    match how:
        case "key revoked":
            ApiKey.objects.filter(owner=owner).update(revoked_at=timezone.now())
        case "key expired":
            ApiKey.objects.filter(owner=owner).update(expires_at=timezone.now() - timedelta(seconds=1))
        case "token revoked":
            TokenFamily.objects.filter(owner=owner).update(revoked_at=timezone.now())
        case "signed out":
            page.logout()
        case "switched off":
            type(owner).objects.filter(pk=owner.pk).update(is_active=False)
        case "may not chat":
            Group.objects.get(name=roles.CHAT_USERS).user_set.remove(owner)
        case "deleted":
            thread.withdraw_from_owner()
    return credential
