"""A small provider of single sign-on: OpenID Connect's code flow over real HTTP, id tokens signed by RSA.

It is strict in what it takes: the client's secret, the redirect's address, a code once, the verifier of PKCE. What it
says is up to the test: `claims` are of whoever is signed in there, `sign` makes the id token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "countersign", "a secret of the client"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    told = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {**told, "kid": "one", "use": "sig", "alg": "RS256"}


class Provider:
    def __init__(self) -> None:
        self.key = new_key()
        self.claims: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.asked: list[dict[str, str]] = []  # queries of the authorization endpoint
        self.codes: dict[str, dict[str, str]] = {}
        self.issuer = ""

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "one"})

    def id_token(self, query: dict[str, str]) -> str:
        now = int(time.time())
        given = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "nonce": query.get("nonce"),
            "iat": now,
            "exp": now + 300,
        }
        return self.sign({**given, **self.claims})

    def configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser of somebody who is signed in here goes next."""
        self.asked.append(query)
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, authorization: str, form: dict[str, str]) -> dict[str, Any] | None:
        query = self.codes.pop(form.get("code", ""), None)
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        is_client = (unquote(name), unquote(secret)) == (CLIENT_ID, CLIENT_SECRET)
        if query is None or not is_client or form.get("redirect_uri") != query["redirect_uri"]:
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if query.get("code_challenge") != base64.urlsafe_b64encode(digest).decode().rstrip("="):
            return None
        return {"access_token": "a", "token_type": "Bearer", "id_token": self.id_token(query)}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.provider.authorize(_first(parts.query)))
            self.end_headers()
        elif parts.path == "/keys":
            self._say({"keys": [public_jwk(self.provider.key)]})
        elif parts.path == "/.well-known/openid-configuration":
            self._say(self.provider.configuration())
        else:
            self._say({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        form = _first(self.rfile.read(int(self.headers["Content-Length"])).decode())
        told = self.provider.token(self.headers.get("Authorization", ""), form)
        self._say(told or {"error": "invalid_grant"}, 200 if told else 400)

    def _say(self, told: dict[str, Any], status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def log_message(self, *given: Any) -> None:
        """Nothing: pytest shows what went wrong."""


def _first(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text).items()}


@contextmanager
def running() -> Iterator[Provider]:
    provider = Provider()
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
