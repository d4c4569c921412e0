"""More of attacks 6, 9 and 12: what comes back from a provider of single sign-on is forged, stolen or another's."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from django.test import Client

from tests.accounts.test_oidc import ALICE, come_back, is_in, left, provider  # noqa: F401  (a fixture)
from tests.security.registry import attack
from tests.security.test_second_factor import never_locked as nothing
from tests.security.without import patched
from tests.support.provider import new_key

pytestmark = pytest.mark.django_db

CLAIMS = "authlib.oidc.core.claims.IDToken"
STOLEN: dict[str, Any] = {}


def unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none", "kid": "one"}, claims)
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join([*texts, ""])


def by_another(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, new_key(), algorithm="RS256", headers={"kid": "one"})


def by_the_public_half(claims: dict[str, Any]) -> str:
    """HMAC with what everybody can read: a check that lets the token choose its algorithm takes it."""
    return jwt.encode(
        claims, "n of the provider's key, as in /keys", algorithm="HS256", headers={"kid": "one"}
    )


def unchecked(text: str, **given: Any) -> Any:
    header, body = (part + "=" * (-len(part) % 4) for part in text.split(".")[:2])
    read = (json.loads(base64.urlsafe_b64decode(part)) for part in (header, body))
    return SimpleNamespace(**dict(zip(("header", "claims"), read, strict=True)))


@attack(
    6,
    "id tokens signed by another key, by HMAC and by nothing",
    "400, nobody is signed in",
    control="id tokens are checked against the provider's keys, by algorithms with a public half",
    without=patched("authlib.integrations.base_client.sync_openid.jwt.decode", unchecked),
    held=[(400, False)] * 3,
    fallen=[(302, True)] * 3,
    known_as="ASVS 9.1.1, 9.1.2",
)
def test_06_a_forged_id_token(provider, alice):  # noqa: F811
    found = []
    for sign in (by_another, by_the_public_half, unsigned):
        provider.sign = sign
        client = Client()
        found.append((come_back(client).status_code, is_in(client)))
    return found


def with_claims(provider: Any, **claims: Any) -> tuple[int, bool]:  # noqa: F811
    provider.claims = {**ALICE, **claims}
    client = Client()
    return come_back(client).status_code, is_in(client)


@attack(
    6,
    "an id token with the nonce of another sign-in",
    "400, nobody is signed in",
    control="a nonce that the session remembers",
    without=patched(f"{CLAIMS}.validate_nonce", nothing),
    held=(400, False),
    fallen=(302, True),
    known_as="ASVS 10.5.1",
)
def test_06_another_nonce(provider, alice):  # noqa: F811
    return with_claims(provider, nonce="of another sign-in")


@attack(
    6,
    "an id token that the provider made for another client",
    "400, nobody is signed in",
    control="a token has to be for us",
    without=[
        patched("joserfc.jwt.JWTClaimsRegistry.validate_aud", nothing),
        patched(f"{CLAIMS}.validate_azp", nothing),
    ],
    held=(400, False),
    fallen=(302, True),
    known_as="ASVS 9.2.3",
)
def test_06_a_token_for_another(provider, alice):  # noqa: F811
    return with_claims(provider, aud="a game", azp="a game")


@attack(
    6,
    "an id token of yesterday",
    "400, nobody is signed in",
    control="tokens expire",
    without=patched("joserfc.jwt.JWTClaimsRegistry.validate_exp", nothing),
    held=(400, False),
    fallen=(302, True),
    known_as="ASVS 9.2.1",
)
def test_06_a_token_of_yesterday(provider, alice):  # noqa: F811
    return with_claims(provider, exp=1_700_000_000)


def anybodys(framework: Any, session: Any, state: str) -> Any:
    return STOLEN.get(state)


@attack(
    9,
    "a link that signs somebody in as the attacker: the end of a sign-in that the attacker began",
    "400, nobody is signed in",
    control="a state that only the session knows that began",
    without=patched(
        "authlib.integrations.base_client.framework_integration.FrameworkIntegration.get_state_data", anybodys
    ),
    held=(400, False),
    fallen=(302, True),
    known_as="ASVS 10.2.1",
)
def test_09_the_end_of_anothers_sign_in(provider, alice):  # noqa: F811
    attacker, victim = Client(), Client()
    link = left(attacker)
    for name, kept in attacker.session.items():
        if name.startswith("_state_oidc_"):
            STOLEN[name.removeprefix("_state_oidc_")] = kept["data"]
    return victim.get(link).status_code, is_in(victim)


@attack(
    12,
    "a link to single sign-on that leads elsewhere after it",
    "to our own page",
    control="only addresses of ours are gone on to",
    without=patched("accounts.oidc_views.url_has_allowed_host_and_scheme", lambda *given, **more: True),
    held={"/"},
    fallen={"//evil.example", "https://evil.example/", "/%5Cevil.example"},
)
def test_12_an_open_redirect_after_single_sign_on(provider, alice):  # noqa: F811
    targets = ("//evil.example", "https://evil.example/", "/\\evil.example")
    return {come_back(Client(), target)["Location"] for target in targets}
