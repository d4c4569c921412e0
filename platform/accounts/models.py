"""People, what they and programs of theirs sign in with. Roles are Django groups; roles.py says what each holds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _


class Factor(models.Model):
    """Somebody's authenticator app. Its id is new with each set-up. Looked at and changed by accounts.factors."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sealed = models.TextField()  # what the app computes its codes from, by accounts.seal
    last_step = (
        models.BigIntegerField()
    )  # the 30 s whose code was given last; it and older ones never count again
    wrong_codes = models.PositiveIntegerField(default=0)  # since the last right one
    locked_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.id)


class RecoveryCode(models.Model):
    """Signs in once in place of the app."""

    factor = models.ForeignKey(Factor, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)  # SHA-256 of its letters, in hex
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["factor", "digest"], name="recoverycode_once"),
        ]

    def __str__(self) -> str:
        return f"{self.digest[:6]}…"


class User(AbstractUser):
    """Somebody who signs in. Chat users are not staff; approvers, operators and auditors are."""

    factor = models.OneToOneField(
        Factor,
        models.SET_NULL,
        null=True,
        editable=False,
        related_name="owner",
        verbose_name=_("second factor"),
    )

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    def get_session_auth_hash(self) -> str:
        """Of the password and of the factor: whatever was begun with another of either ends, sockets and tokens too."""
        return self._with_factor(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        return map(self._with_factor, super().get_session_auth_fallback_hash())

    def _with_factor(self, of_password: str) -> str:
        if not self.needs_factor:
            return of_password
        salt = f"accounts.factor:{self.factor_id}"
        return salted_hmac(salt, of_password, algorithm="sha256").hexdigest()

    @property
    def needs_factor(self) -> bool:
        """Whether a password alone signs in nobody by this name."""
        return settings.STAFF_TOTP != "off" and (self.factor_id is not None or self.must_have_factor)

    @property
    def must_have_factor(self) -> bool:
        return settings.STAFF_TOTP == "required" and (self.is_staff or self.is_superuser)


class Identity(models.Model):
    """Who somebody is at the provider of single sign-on. Linked by accounts.people, and never guessed again."""

    user = models.ForeignKey(User, models.CASCADE, related_name="identities")
    issuer = models.TextField()
    subject = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="identity_is_one_person"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class ApiKey(models.Model):
    """What a program sends to act for its owner, within `scopes`. Made, replaced and ended by accounts.keys."""

    owner = models.ForeignKey(
        User,
        models.CASCADE,
        related_name="api_keys",
        verbose_name=_("owner"),
        help_text=_("Who it acts for."),
    )
    name = models.CharField(_("name"), max_length=80, help_text=_("What uses it, and where."))
    prefix = models.CharField(_("key"), max_length=12, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)  # SHA-256 of the secret, in hex
    scopes = ArrayField(models.CharField(max_length=20), verbose_name=_("scopes"))
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    replaced_at = models.DateTimeField(_("replaced"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=~Q(scopes=[]), name="apikey_has_a_scope"),
        ]

    def __str__(self) -> str:
        return f"cs_{self.prefix}_…"

    @property
    def has_ended(self) -> bool:
        return self.revoked_at is not None or self.has_expired

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def lifetime(self) -> timedelta | None:
        """As it was chosen; None: until it is revoked."""
        return self.expires_at - self.created_at if self.expires_at else None

    @property
    def status(self) -> str:
        """One of STATUS_NAMES."""
        if self.replaced_at:
            return "replaced" if self.has_ended else "replaced_soon"
        if self.revoked_at:
            return "revoked"
        return "expired" if self.has_expired else "active"

    @property
    def status_name(self) -> str:
        return str(STATUS_NAMES[self.status])


STATUS_NAMES = {
    "active": _("active"),
    "replaced_soon": _("replaced, still valid"),
    "replaced": _("replaced"),
    "expired": _("expired"),
    "revoked": _("revoked"),
}


class TokenFamily(models.Model):
    """One sign-in of a program by name and password: all tokens that came of it live and die together."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(User, models.CASCADE, related_name="+")
    begun_with = models.CharField(max_length=64)  # the password's session hash, as in a session
    current = models.CharField(max_length=64)  # SHA-256 of the id of the one refresh token that still works
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["owner", "-created_at"], name="tokenfamily_of_owner")]

    def __str__(self) -> str:
        return str(self.id)
