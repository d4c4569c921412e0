"""Codes of an authenticator app, and recovery codes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from accounts import factors
from accounts.exceptions import FactorExists, FactorLocked, WrongCode
from accounts.models import Factor, RecoveryCode, User
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings
from runtime.models import AuditEvent

from tests.support.phone import Phone, phone_of, wrong

pytestmark = pytest.mark.django_db


def refuses(user: User, code: str) -> bool:
    try:
        factors.check(user, code)
    except WrongCode:
        return True
    return False


def test_the_code_of_now_is_right(bob: User) -> None:
    phone, _ = phone_of(bob)

    factors.check(bob, phone.code())


def test_blanks_in_a_code_do_no_harm(bob: User) -> None:
    code = phone_of(bob)[0].code()

    factors.check(bob, f" {code[:3]} {code[3:]} ")


@pytest.mark.parametrize("steps", [-2, 3, 20])
def test_a_code_of_another_time_is_wrong(bob: User, steps: int) -> None:
    phone, _ = phone_of(bob)

    assert refuses(bob, phone.code(steps))


@pytest.mark.parametrize("code", ["", "0", "abcdef", "٣٣٣٣٣٣", "1234567", "💥"])
def test_what_is_no_code_is_wrong(bob: User, code: str) -> None:
    phone_of(bob)

    assert refuses(bob, code)


def test_a_code_counts_once_and_so_do_those_before_it(bob: User) -> None:
    phone, _ = phone_of(bob)
    factors.check(bob, phone.code(1))

    assert refuses(bob, phone.code(1))
    assert refuses(bob, phone.code())


def test_the_code_of_the_set_up_does_not_sign_in(bob: User) -> None:
    secret = factors.new_secret()
    code = Phone(secret).code()
    factors.set_up(bob, secret, code)

    assert refuses(bob, code)


def test_another_persons_code_is_wrong(bob: User, admin: User) -> None:
    phone_of(bob)
    phone, codes = phone_of(admin)

    assert refuses(bob, phone.code())
    assert refuses(bob, codes[0])


def test_a_recovery_code_counts_once(bob: User) -> None:
    _, codes = phone_of(bob)
    factors.check(bob, codes[3].upper().replace("-", " "))

    assert refuses(bob, codes[3])
    assert factors.codes_left(bob) == 9


def test_new_recovery_codes_end_the_old(bob: User) -> None:
    _, old = phone_of(bob)

    new = factors.renew_codes(bob)

    assert all(refuses(bob, code) for code in old[:5])
    factors.check(bob, new[0])


def test_ten_wrong_codes_lock_whatever_is_right(bob: User) -> None:
    phone, codes = phone_of(bob)
    for _ in range(10):
        assert refuses(bob, wrong(phone.code()))

    for right in (phone.code(), codes[0]):
        with pytest.raises(FactorLocked):
            factors.check(bob, right)
    Factor.objects.update(locked_until=timezone.now() - timedelta(seconds=1))
    factors.check(bob, phone.code())


def test_a_right_code_starts_the_count_anew(bob: User) -> None:
    phone, codes = phone_of(bob)
    for code in codes[:2]:
        for _ in range(9):
            assert refuses(bob, wrong(phone.code()))
        factors.check(bob, code)


def test_a_wrong_code_sets_nothing_up(bob: User) -> None:
    secret = factors.new_secret()

    with pytest.raises(WrongCode):
        factors.set_up(bob, secret, wrong(Phone(secret).code()))

    assert not Factor.objects.exists()


def test_a_second_set_up_leaves_the_first(bob: User) -> None:
    stale = User.objects.get(pk=bob.pk)
    phone, _ = phone_of(bob)

    with pytest.raises(FactorExists):
        phone_of(stale)

    assert Factor.objects.count() == 1
    factors.check(bob, phone.code())


def test_neither_secret_nor_recovery_code_is_in_the_database(bob: User) -> None:
    secret = factors.new_secret()
    codes = factors.set_up(bob, secret, Phone(secret).code())

    rows = str([*Factor.objects.values(), *RecoveryCode.objects.values()])

    assert secret not in rows
    assert not any(code in rows or code.replace("-", "") in rows for code in codes)


def test_a_secret_outlives_a_change_of_the_secret_key(bob: User, settings: Settings) -> None:
    phone, _ = phone_of(bob)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new one"
    factors.check(bob, phone.code())

    settings.SECRET_KEY_FALLBACKS = []
    assert refuses(bob, phone.code(1))


def test_each_change_is_in_the_audit(bob: User) -> None:
    _, codes = phone_of(bob)
    factors.check(bob, codes[0])
    factors.renew_codes(bob)
    factors.remove(bob)

    found = AuditEvent.objects.filter(action__startswith="factor.").values_list("action", "subject_id")

    names = ["code_spent", "codes_renewed", "removed", "set_up"]
    assert sorted(found) == [(f"factor.{name}", str(bob.pk)) for name in names]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_send_one_code_at_once_one_is_let_in(bob: User) -> None:
    phone, codes = phone_of(bob)

    def tries(code: str) -> int:
        def one(_: int) -> bool:
            try:
                return not refuses(bob, code)
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            return sum(pool.map(one, range(6)))

    assert tries(phone.code()) == 1
    assert tries(codes[0]) == 1
