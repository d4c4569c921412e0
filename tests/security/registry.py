"""The list of attacks. Each is one function, made two tests by `@attack`: with its control in place, and its twin.

    @attack(
        8, "a decision posted without a CSRF token", "403",
        control="Django's CSRF middleware", without=middleware("django.middleware.csrf.CsrfViewMiddleware"),
        held=(403, "pending"), fallen=(302, "approved"),
    )
    def test_08_a_decision_without_a_csrf_token(bob, alice, waiting): ...  # returns what came of it

The function attacks, and returns what came of it: `held` with the control. The twin takes the control away, and then
the very same attack must succeed: `fallen`. A twin that fails says that something else stopped the attack, and so that
the other test proves nothing about the control. docs/security.md is written from this list.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest

Without = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Attack:
    number: int
    what: str
    answer: str
    control: str
    known_as: str
    """In OWASP's lists: ASVS 5.0, LLM 2025, agentic applications (ASI)."""
    test: str


ATTACKS: list[Attack] = []


def attack(
    number: int,
    what: str,
    answer: str,
    *,
    control: str,
    without: Without | list[Without],
    held: object,
    fallen: object,
    known_as: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`what` is tried, and `answer` what it gets; `without` takes `control` away while the twin runs.

    `held` and `fallen` are compared with what the function returns; either may be a function of it that judges.
    """
    removals = without if isinstance(without, list) else [without]

    def register(perform: Callable[..., Any]) -> Callable[..., Any]:
        folder, _, module = perform.__module__.rpartition(".")
        elsewhere = "" if folder == "tests.security" else f"../{folder.removeprefix('tests.')}/"
        test = f"{elsewhere}{module}.py::{perform.__name__}"
        ATTACKS.append(Attack(number, what, answer, control, known_as, test))

        def taken_away(is_twin: bool) -> AbstractContextManager[Any]:
            if not is_twin:
                return nullcontext()
            stack = ExitStack()
            for removal in removals:
                stack.enter_context(removal())
            return stack

        def judge(outcome: object, is_twin: bool) -> None:
            expected = fallen if is_twin else held
            if callable(expected):
                assert expected(outcome), outcome
            else:
                assert outcome == expected, f"{outcome!r} in place of {expected!r}"

        if inspect.iscoroutinefunction(perform):

            @wraps(perform)
            async def in_loop(is_twin: bool, **fixtures: Any) -> None:
                with taken_away(is_twin):
                    outcome = await perform(**fixtures)
                judge(outcome, is_twin)

            return _twice(in_loop, perform)

        @wraps(perform)
        def plain(is_twin: bool, **fixtures: Any) -> None:
            with taken_away(is_twin):
                outcome = perform(**fixtures)
            judge(outcome, is_twin)

        return _twice(plain, perform)

    return register


def _twice(test: Any, perform: Callable[..., Any]) -> Callable[..., Any]:
    """pytest reads off the signature which fixtures a test wants."""
    fixtures = inspect.signature(perform).parameters.values()
    asked = inspect.Parameter("is_twin", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([asked, *fixtures])
    made: Callable[..., Any] = pytest.mark.parametrize("is_twin", [False, True], ids=["held", "twin"])(test)
    return made
