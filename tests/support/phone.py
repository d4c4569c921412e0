"""Somebody's authenticator app: told the secret at the set-up, it shows a code for each 30 seconds."""

from __future__ import annotations

import time

import pyotp
from accounts import factors
from accounts.models import User


class Phone:
    def __init__(self, secret: str) -> None:
        self.totp = pyotp.TOTP(secret)

    def code(self, steps: int = 0) -> str:
        """That of now, or of so many steps later."""
        return self.totp.at(time.time(), counter_offset=steps)


def wrong(code: str) -> str:
    """Six digits that are another code's."""
    return f"{(int(code) + 1) % 1_000_000:06}"


def phone_of(user: User) -> tuple[Phone, list[str]]:
    """The app they have set up just now, with the code of a step ago, and their recovery codes."""
    secret = factors.new_secret()
    phone = Phone(secret)
    return phone, factors.set_up(user, secret, phone.code(-1))
