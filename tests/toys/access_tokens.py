"""Tokens for tests of access."""

from intima.contracts.access import Limits, TokenRequest
from intima.store import tokens
from intima.store.storage import Storage


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def make_token(storage: Storage, *scopes: str, limits: Limits | None = None, valid_days: float = 1.0) -> str:
    request = TokenRequest(name="t", scopes=scopes, limits=limits or Limits(), valid_days=valid_days)
    with storage.writing() as connection:
        return tokens.create_token(connection, request, by="test").token
