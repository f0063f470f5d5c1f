"""Tokens that an OpenID Connect issuer signs (OpenID Connect Discovery 1.0, RFC 7519, RFC 9068)."""

import threading
import time
from typing import Any

import httpx
import jwt

from intima.contracts.access import SCOPES, Caller
from intima.errors import Unavailable
from services.access.refusals import Refused, unauthenticated

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Only those of key pairs: with a shared secret, who can check a token could make one."""
LEEWAY_S = 30
REST_S = 10.0
"""After an issuer did not give its keys, nobody waits for it for so long."""
_TIMEOUT_S = 5.0
_DISCOVERY = "/.well-known/openid-configuration"
_HINT = "Sign in again, and ask for a token that is made out to this service."


class Issuer:
    """Checks signatures with the issuer's keys, which are fetched at the first token and kept for five minutes."""

    def __init__(self, address: str, *, audience: str, scope_claim: str, scope_prefix: str) -> None:
        self._address = address
        self._audience = audience
        self._scope_claim = scope_claim
        self._scope_prefix = scope_prefix
        self._lock = threading.Lock()
        self._keys: jwt.PyJWKClient | None = None
        self._rest_until = 0.0

    def identify(self, token: str) -> Caller:
        """Return who the issuer says this is.

        Raises:
            Refused: unauthenticated: not signed by the issuer, expired, or made out to another service.
            Unavailable: the issuer's keys cannot be fetched.
        """
        claims = self._claims(token)
        name = claims.get("preferred_username") or claims.get("client_id") or claims["sub"]
        scopes = self._scopes(claims.get(self._scope_claim))
        if not scopes:
            raise Refused(
                f"The claim {self._scope_claim!r} of this token has no scope of ours.",
                code="forbidden",
                hint=f"Let the issuer grant one of {', '.join(self._scope_prefix + s for s in SCOPES)}.",
            )
        return Caller(
            id=f"oidc:{_plain(claims['sub'])}"[:200],
            name=_plain(name)[:100],
            scopes=scopes,
            expires_at_s=float(claims["exp"]),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        self._refuse_foreign(token)
        key = self._key_of(token)
        try:
            return jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._audience,
                issuer=self._address,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise unauthenticated(f"This token of {self._address} is not valid: {error}.", hint=_HINT) from error

    def _key_of(self, token: str) -> jwt.PyJWK:
        client = self._client()
        try:
            client.get_jwk_set()
        except (jwt.PyJWTError, OSError, ValueError) as error:
            raise self._failed() from error
        try:
            return client.get_signing_key_from_jwt(token)
        except (jwt.PyJWKClientConnectionError, OSError, ValueError) as error:
            raise self._failed() from error
        except jwt.PyJWTError as error:
            raise unauthenticated(f"{self._address} has no key of this token.", hint=_HINT) from error

    def _failed(self) -> Unavailable:
        self._rest_until = time.monotonic() + REST_S
        return _unreachable(self._address)

    def _refuse_foreign(self, token: str) -> None:
        """Refuse what this issuer cannot have signed, before anybody is asked for keys. Raises Refused."""
        try:
            header = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError) as error:
            raise unauthenticated("This token cannot be read.", hint=_HINT) from error
        if header.get("alg") not in ALGORITHMS or not isinstance(header.get("kid"), str) or issuer != self._address:
            raise unauthenticated(f"This token is not one of {self._address}.", hint=_HINT)

    def _client(self) -> jwt.PyJWKClient:
        """Return what knows the keys. Raises Unavailable, at once where the issuer failed a moment ago."""
        with self._lock:
            if time.monotonic() < self._rest_until:
                raise _unreachable(self._address)
            if self._keys is None:
                try:
                    self._keys = jwt.PyJWKClient(_find_keys(self._address), timeout=_TIMEOUT_S)
                except Unavailable:
                    self._rest_until = time.monotonic() + REST_S
                    raise
            return self._keys

    def _scopes(self, claim: object) -> tuple[str, ...]:
        words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
        return tuple(s for s in SCOPES if self._scope_prefix + s in words)


def _plain(claim: object) -> str:
    """Return a claim as text that every database and log holds."""
    return str(claim).encode(errors="replace").decode().replace("\0", "?")


def _find_keys(address: str) -> str:
    """Return where the issuer says its keys are. Raises Unavailable where it says nothing or speaks of another."""
    try:
        answer = httpx.get(address.rstrip("/") + _DISCOVERY, timeout=_TIMEOUT_S).raise_for_status().json()
        found, keys = answer["issuer"], answer["jwks_uri"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise _unreachable(address) from error
    if found != address or not isinstance(keys, str):
        raise Unavailable(
            f"{address} says that its issuer is {found!r}.",
            code="oidc_misconfigured",
            hint="Set INTIMA_OIDC_ISSUER so.",
        )
    return keys


def _unreachable(address: str) -> Unavailable:
    return Unavailable(
        f"The issuer {address} does not give its keys.",
        code="oidc_unavailable",
        hint="Try again; tokens made by Intima itself work meanwhile.",
    )
