"""Whose account it is that the provider of single sign-on vouches for, and which roles it gives them.

Somebody is found by the provider's own id for them; the first time by an e-mail address that it says it has verified.
A superuser is neither found by an address nor made: who runs the provider is not thereby master of what is here.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from accounts import roles, signals
from accounts.exceptions import NotLetIn
from accounts.forms import USERNAME_MAX_CHARS
from accounts.models import Identity, User
from accounts.oidc import Claims

NAME_MAX_CHARS = 150


def person_of(claims: Claims) -> User:
    """With the roles the provider gives them by now. Raises NotLetIn, which is in the audit."""
    with transaction.atomic():
        user = _known(claims) or _by_address(claims) or _new(claims)
        if user is not None and user.is_active:
            _give_roles(user, claims)
            return user
    why = "switched off" if user else "no account"
    signals.sign_in_refused.send(User, name=_text(claims, "email") or claims["sub"], why=why)
    raise NotLetIn()


def _known(claims: Claims) -> User | None:
    found = Identity.objects.select_related("user", "user__factor").filter(**_key(claims)).first()
    return found.user if found else None


def _key(claims: Claims) -> dict[str, str]:
    return {"issuer": settings.OIDC_ISSUER, "subject": claims["sub"]}


def _by_address(claims: Claims) -> User | None:
    """The one account with their address; of two it is nobody's."""
    address = _address(claims)
    if not address:
        return None
    found = list(User.objects.filter(email__iexact=address)[:2])
    if len(found) != 1 or found[0].is_superuser or not found[0].is_active:
        return None
    return _link(found[0], claims)


def _new(claims: Claims) -> User | None:
    address = _address(claims)
    is_known = bool(address) and User.objects.filter(email__iexact=address).exists()
    if not settings.OIDC_CREATES_PEOPLE or is_known:
        return None
    user = User(
        username=_free_name(claims),
        email=address,
        first_name=_text(claims, "given_name")[:NAME_MAX_CHARS],
        last_name=_text(claims, "family_name")[:NAME_MAX_CHARS],
    )
    user.set_unusable_password()
    user.save()
    return _link(user, claims)


def _link(user: User, claims: Claims) -> User:
    identity = Identity.objects.create(user=user, **_key(claims))
    signals.identity_linked.send(Identity, identity=identity)
    return user


def _free_name(claims: Claims) -> str:
    name = _text(claims, "preferred_username") or _address(claims)
    try:
        UnicodeUsernameValidator()(name)
    except ValidationError:
        name = ""
    if 0 < len(name) <= USERNAME_MAX_CHARS and not User.objects.filter(username__iexact=name).exists():
        return name
    return f"sso-{sha256(str(_key(claims)).encode()).hexdigest()[:16]}"


def _address(claims: Claims) -> str:
    """Empty for one that the provider has not verified: whoever wrote it there would be its owner here."""
    address = _text(claims, "email") if claims.get("email_verified") is True else ""
    try:
        validate_email(address)
    except ValidationError:
        return ""
    return address


def _text(claims: Claims, name: str) -> str:
    value: Any = claims.get(name)
    return value.strip() if isinstance(value, str) and "\x00" not in value else ""


# Roles


def _give_roles(user: User, claims: Claims) -> None:
    """Those that are mapped are the provider's to give and to take; others, and superusers, are left alone."""
    mapped = set(settings.OIDC_GROUPS.values())
    if not mapped or user.is_superuser:
        return
    said = claims.get(settings.OIDC_GROUPS_CLAIM)
    given = {str(each) for each in said} if isinstance(said, list) else set()
    wanted = {ours for theirs, ours in settings.OIDC_GROUPS.items() if theirs in given}
    user.groups.remove(*Group.objects.filter(name__in=mapped - wanted, user=user))
    user.groups.add(*Group.objects.filter(name__in=wanted).exclude(user=user))
    _give_staff_status(user, mapped)


def _give_staff_status(user: User, mapped: set[str]) -> None:
    """Comes and goes with the roles that need it, where the provider gives any of those."""
    needing = set(roles.ALL) - {roles.CHAT_USERS}
    if not mapped & needing:
        return
    is_staff = user.groups.filter(name__in=needing).exists()
    if user.is_staff != is_staff:
        user.is_staff = is_staff
        user.save(update_fields=["is_staff"])
