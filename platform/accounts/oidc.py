"""Single sign-on by OpenID Connect: the code flow with PKCE, state and nonce. The protocol is Authlib's.

What it leaves open is closed here: the provider has to be the one that was configured, it signs with a key that has a
public half, a token without an id token is nobody, and every wait has a bound.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.exceptions import BadAnswer, ProviderAway

logger = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds for each answer of the provider
LEEWAY = 60  # seconds that its clock may be off
ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
SCOPE = "openid profile email"

Claims = dict[str, Any]


def leave_for_provider(request: HttpRequest, come_back_to: str) -> HttpResponse:
    """Raises ProviderAway."""
    answer: HttpResponse = _asked(_known_client, "authorize_redirect", request, come_back_to)
    return answer


def claims_of(request: HttpRequest) -> Claims:
    """What the provider vouches for, of who has come back from it. Raises BadAnswer and ProviderAway."""
    iss = {"essential": True, "value": settings.OIDC_ISSUER}
    aud = {"essential": True, "value": settings.OIDC_CLIENT_ID}
    options = {"iss": iss, "aud": aud, "sub": {"essential": True}, "nonce": {"essential": True}}
    token = _asked(_known_client, "authorize_access_token", request, claims_options=options, leeway=LEEWAY)
    claims = token.get("userinfo")
    if not claims or not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise BadAnswer()
    return dict(claims)


def _asked(client: Any, method: str, *given: Any, **more: Any) -> Any:
    """Authlib is imported here: web processes where nobody signs in by it do without."""
    from authlib.common.errors import AuthlibBaseError
    from joserfc.errors import JoseError
    from requests import RequestException

    try:
        return getattr(client(), method)(*given, **more)
    except RequestException as error:
        logger.error("provider away", exc_info=error, extra={"action": "oidc_away"})
        raise ProviderAway() from error
    except (
        AuthlibBaseError,
        JoseError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:  # the last three: no sense in it
        logger.warning("sign-in not valid", exc_info=error, extra={"action": "oidc_refused"})
        raise BadAnswer() from error


def _known_client() -> Any:
    """What the provider says of itself is looked at once it is there, and kept."""
    client = _client(settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET)
    metadata = client.load_server_metadata()
    if metadata.get("issuer") != settings.OIDC_ISSUER:
        _client.cache_clear()
        raise ValueError(
            f"The provider calls itself {metadata.get('issuer')!r}: correct COUNTERSIGN_OIDC_ISSUER."
        )
    offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    metadata["id_token_signing_alg_values_supported"] = sorted(ALGORITHMS.intersection(offered)) or ["RS256"]
    return client


@cache
def _client(issuer: str, client_id: str, secret: str) -> Any:
    from authlib.integrations.django_client import OAuth

    return OAuth().register(
        "oidc",
        client_id=client_id,
        client_secret=secret,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": SCOPE, "code_challenge_method": "S256", "default_timeout": TIMEOUT},
    )
