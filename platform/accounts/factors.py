"""The second factor: codes of an authenticator app (RFC 6238), and recovery codes for when it is lost.

The algorithm is pyotp's. What makes it safe is kept in the factor's row, and read and written under its lock: of two
who send one code at the same instant one is let in, whichever web processes they reach.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import b32encode
from datetime import timedelta
from hashlib import sha256
from typing import Literal

import pyotp
import segno
from cryptography.fernet import InvalidToken
from django.db import transaction
from django.utils import timezone

from accounts import signals
from accounts.exceptions import FactorExists, FactorLocked, WrongCode
from accounts.models import Factor, RecoveryCode, User
from accounts.seal import box

Change = Literal["set_up", "codes_renewed", "code_spent", "removed", "reset"]

SALT = b"accounts.factors"
ISSUER = "Countersign"
STEP = 30  # seconds a code is shown for
DRIFT = 1  # steps that a phone's clock may be off
WRONG_CODES = 10  # in a row, from wherever, until the account's codes are refused for a while
LOCKED_FOR = timedelta(minutes=15)
RECOVERY_CODES = 10
RECOVERY_BYTES = 10  # 80 bits: plain SHA-256 gives nothing away of as many


def new_secret() -> str:
    return pyotp.random_base32()


def sealed(secret: str) -> str:
    return box(SALT).encrypt(secret.encode()).decode()


def opened(text: str) -> str:
    """Empty for what was sealed under a secret key that is gone."""
    try:
        return box(SALT).decrypt(text).decode()
    except InvalidToken:
        return ""


def picture_of(user: User, secret: str) -> str:
    """What an app's camera reads, as a data URL: a secret is in no address."""
    uri = pyotp.TOTP(secret).provisioning_uri(name=user.get_username(), issuer_name=ISSUER)
    return segno.make(uri, error="m", micro=False).svg_data_uri(scale=5, border=4, light="#fff", dark="#000")


def set_up(user: User, secret: str, code: str) -> list[str]:
    """Recovery codes, to be shown once, for who proved by `code` that their app has the secret.

    Raises WrongCode, and FactorExists when there is one already.
    """
    step = _step_of(secret, code, after=0)
    if step is None:
        raise WrongCode()
    with transaction.atomic():
        factor = Factor.objects.create(sealed=sealed(secret), last_step=step)
        if not User.objects.filter(pk=user.pk, factor=None).update(factor=factor):
            raise FactorExists()
        user.factor = factor
        codes = _new_codes(factor)
        signals.factor_changed.send(User, user=user, change="set_up")
    return codes


def check(user: User, code: str) -> None:
    """A code of the app, or a recovery code; either counts once. Raises WrongCode, and FactorLocked after too many."""
    with transaction.atomic():
        factor = _locked_row(user)
        if factor is None:
            raise WrongCode()
        if factor.locked_until and factor.locked_until > timezone.now():
            raise FactorLocked()
        is_right = _is_app_code(factor, code) or _spend(user, factor, code)
        _count(factor, is_right)
    if not is_right:
        raise WrongCode()


def renew_codes(user: User) -> list[str]:
    """Ten new recovery codes; the old ones end."""
    with transaction.atomic():
        factor = _locked_row(user)
        if factor is None:
            raise WrongCode()
        factor.recovery_codes.all().delete()
        codes = _new_codes(factor)
        signals.factor_changed.send(User, user=user, change="codes_renewed")
    return codes


def remove(user: User, change: Change = "removed") -> bool:
    """False when there was none. All that was begun with it ends: sessions, sockets, tokens."""
    with transaction.atomic():
        factor = _locked_row(user)
        if factor is None:
            return False
        User.objects.filter(pk=user.pk).update(factor=None)
        factor.delete()
        user.factor = None
        signals.factor_changed.send(User, user=user, change=change)
    return True


def codes_left(user: User) -> int:
    return RecoveryCode.objects.filter(factor=user.factor_id, used_at=None).count() if user.factor_id else 0


# Looking at a code


def _locked_row(user: User) -> Factor | None:
    return Factor.objects.select_for_update().filter(owner__pk=user.pk).first()


def _is_app_code(factor: Factor, code: str) -> bool:
    step = _step_of(opened(factor.sealed), code, after=factor.last_step)
    if step is None:
        return False
    factor.last_step = step
    return True


def _step_of(secret: str, code: str, *, after: int) -> int | None:
    """The step that `code` is of; None for none that is now, and newer than `after`."""
    if not secret:
        return None
    totp, now = pyotp.TOTP(secret, interval=STEP), int(timezone.now().timestamp()) // STEP
    given = _plain(code)
    for step in range(max(after + 1, now - DRIFT), now + DRIFT + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), given.encode()):
            return step
    return None


def _spend(user: User, factor: Factor, code: str) -> bool:
    unused = factor.recovery_codes.filter(digest=_digest(code), used_at=None)
    if not unused.update(used_at=timezone.now()):
        return False
    signals.factor_changed.send(User, user=user, change="code_spent")
    return True


def _count(factor: Factor, is_right: bool) -> None:
    factor.wrong_codes = 0 if is_right else factor.wrong_codes + 1
    if factor.wrong_codes >= WRONG_CODES:
        factor.wrong_codes = 0
        factor.locked_until = timezone.now() + LOCKED_FOR
    factor.save(update_fields=["last_step", "wrong_codes", "locked_until"])


def _new_codes(factor: Factor) -> list[str]:
    codes = [b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create(RecoveryCode(factor=factor, digest=_digest(code)) for code in codes)
    return ["-".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in codes]


def _digest(code: str) -> str:
    return sha256(_plain(code).encode()).hexdigest()


def _plain(code: str) -> str:
    """Without the blanks and dashes that make it readable."""
    return "".join(code.split()).replace("-", "").lower()
