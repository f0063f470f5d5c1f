"""Tokens: random secrets that are shown once and kept as hashes.

256 random bits need no slow hash: there is nothing to guess (unlike passwords).
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from intima.contracts.access import SCOPES, Caller, Limits, TokenMade, TokenRequest, TokenView
from intima.errors import Conflict, Invalid, NotFound
from intima.store import locks
from intima.store.catalog import rfc3339
from intima.store.keys import check_id, new_id
from intima.store.paging import Page, page_of
from intima.store.tables import database_now, tokens

PREFIX = "intima_"
"""Begins every token, so that scanners of secrets find one that was published by mistake."""
SECRET_BYTES = 32
LEAST_CHARACTERS = 32
"""Of a token that somebody else made up."""
FROM_SETTING = "setting"
_DAY_S = 86_400.0
_USE_STEP_S = 60.0


def create_token(
    conn: Connection, request: TokenRequest, *, by: str, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> TokenMade:
    """Store a new token and return it with its secret, which cannot be had again."""
    secret = PREFIX + random_bytes(SECRET_BYTES).hex()
    now = now_s(conn)
    row = _new_row(secret, by=by, now=now, expires_at=now + request.valid_days * _DAY_S)
    row |= {"name": request.name, "scopes": list(request.scopes), "limits": request.limits.model_dump(mode="json")}
    conn.execute(insert(tokens).values(**row))
    return TokenMade(token=secret, view=get_token(conn, row["id"]))


def know_admin_token(conn: Connection, secret: str) -> None:
    """Let the token of INTIMA_ADMIN_TOKEN, and no other that once stood there, do everything.

    Raises:
        Invalid: it is so short that it could be guessed, or the secret of another token.
    """
    if len(secret) < LEAST_CHARACTERS:
        raise Invalid(
            f"INTIMA_ADMIN_TOKEN has {len(secret)} characters; need at least {LEAST_CHARACTERS}.",
            code="weak_token",
            hint="Make one with: openssl rand -hex 32",
        )
    locks.hold(conn, locks.ADMIN_TOKEN)
    hashed, now = hash_of(secret), now_s(conn)
    others = (tokens.c.created_by == FROM_SETTING, tokens.c.secret_sha256 != hashed, tokens.c.revoked_at.is_(None))
    conn.execute(update(tokens).where(*others).values(revoked_at=now))
    found = find_row(conn, secret)
    if found is not None and found.created_by != FROM_SETTING:
        raise Invalid(
            "INTIMA_ADMIN_TOKEN is the secret of a token that was made otherwise.",
            code="token_in_use",
            hint="Make a new one with: openssl rand -hex 32",
        )
    if found is None:
        row = _new_row(secret, by=FROM_SETTING, now=now, expires_at=None)
        row |= {"name": "INTIMA_ADMIN_TOKEN", "scopes": list(SCOPES), "limits": {}}
        conn.execute(insert(tokens).values(**row))
    else:
        mine = (tokens.c.created_by == FROM_SETTING, tokens.c.secret_sha256 == hashed)
        conn.execute(update(tokens).where(*mine).values(revoked_at=None))


def forget_admin_token(conn: Connection) -> None:
    """Let no token of INTIMA_ADMIN_TOKEN be valid, as none is set."""
    valid = (tokens.c.created_by == FROM_SETTING, tokens.c.revoked_at.is_(None))
    conn.execute(update(tokens).where(*valid).values(revoked_at=database_now()))


def find_row(conn: Connection, secret: str) -> Row[Any] | None:
    """Return the row of a token by its secret, valid or not."""
    return conn.execute(select(tokens).where(tokens.c.secret_sha256 == hash_of(secret))).one_or_none()


def caller_of(row: Row[Any]) -> Caller:
    """Return who shows this token."""
    limits = Limits.model_validate(row.limits)
    return Caller(id=row.id, name=row.name, scopes=row.scopes, limits=limits, expires_at_s=row.expires_at)


def use_is_news(row: Row[Any], *, now: float) -> bool:
    """Tell whether the last use is long enough ago to write down another: a write for each would be slow."""
    return row.last_used_at is None or bool(row.last_used_at < now - _USE_STEP_S)


def note_use(conn: Connection, token_id: str, *, now: float) -> None:
    """Write down that a token was used."""
    conn.execute(update(tokens).where(tokens.c.id == token_id).values(last_used_at=now))


def get_token(conn: Connection, token_id: str) -> TokenView:
    """Return a token without its secret. Raises NotFound."""
    row = conn.execute(select(tokens).where(tokens.c.id == check_id(token_id, prefix="tok"))).one_or_none()
    if row is None:
        raise NotFound(f"There is no token {token_id}.")
    return _view(row)


def list_tokens(conn: Connection, *, page_size: int, page_token: str) -> Page[TokenView]:
    """Return tokens, newest first. Raises Invalid for a bad page."""
    return page_of(conn, tokens, page_size=page_size, page_token=page_token).map(_view)


def revoke_token(conn: Connection, token_id: str) -> TokenView:
    """Let a token be valid no more; again changes nothing.

    Raises:
        NotFound: there is none.
        Conflict: it is the one of INTIMA_ADMIN_TOKEN, which would be back at the next start.
    """
    found = get_token(conn, token_id)
    if found.created_by == FROM_SETTING and found.revoked_at is None:
        raise Conflict(
            "This token is set by INTIMA_ADMIN_TOKEN.",
            code="token_is_set",
            hint="Change or remove that setting and restart; the old token is then revoked.",
        )
    one = (tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
    conn.execute(update(tokens).where(*one).values(revoked_at=database_now()))
    return get_token(conn, token_id)


def now_s(conn: Connection) -> float:
    """Return the time by the clock of the database."""
    return float(conn.execute(select(database_now())).scalar_one())


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _new_row(secret: str, *, by: str, now: float, expires_at: float | None) -> dict[str, Any]:
    return {
        "id": new_id("tok"),
        "secret_sha256": hash_of(secret),
        "created_at": now,
        "created_by": by,
        "expires_at": expires_at,
    }


def _view(row: Row[Any]) -> TokenView:
    return TokenView(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        limits=Limits.model_validate(row.limits),
        created_at=rfc3339(row.created_at),
        created_by=row.created_by,
        expires_at=_shown(row.expires_at),
        revoked_at=_shown(row.revoked_at),
        last_used_at=_shown(row.last_used_at),
    )


def _shown(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
