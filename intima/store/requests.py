"""Idempotency keys: the answer to a POST is kept, so that the same POST again gets the same answer.

Where an answer follows from its question alone, what is kept is the hash of the question: a key stands for one body.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from intima.arrays import Json
from intima.errors import Conflict
from intima.store import tables as t

IN_WORK = 0
"""Status of a key whose work has not ended."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What was answered."""

    status: int
    response: Json


def recall_response(conn: Connection, *, key: str, route: str, body_sha256: str) -> StoredResponse | None:
    """Return what was answered to this key on this route, or null.

    Raises:
        Conflict: the key was used with another body.
    """
    query = select(t.requests).where(t.requests.c.key == key, t.requests.c.route == route)
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != body_sha256:
        raise Conflict(
            f"Idempotency-Key {key[:80]!r} was used with another body.",
            code="idempotency_key_reused",
            hint="Use a new key for a new request.",
        )
    return StoredResponse(row.status, row.response)


def remember_response(conn: Connection, *, key: str, route: str, body_sha256: str, status: int, response: Json) -> None:
    """Keep an answer, in the transaction that did the work."""
    row = {"key": key, "route": route, "body_sha256": body_sha256, "status": status, "response": response}
    conn.execute(insert(t.requests).values(**row, created_at=t.database_now()))


def claim_key(conn: Connection, *, key: str, route: str, body_sha256: str) -> None:
    """Let a key stand for a body, where it does not already.

    Raises:
        Conflict: the key was used with another body.
    """
    if recall_response(conn, key=key, route=route, body_sha256=body_sha256) is not None:
        return
    try:
        with conn.begin_nested():
            remember_response(conn, key=key, route=route, body_sha256=body_sha256, status=IN_WORK, response={})
    except Conflict:  # of the store: another request claimed it at the same moment
        recall_response(conn, key=key, route=route, body_sha256=body_sha256)


def settle_key(conn: Connection, *, key: str, route: str) -> None:
    """Let a key stand for its body for good, as the work was done."""
    conn.execute(update(t.requests).where(*_is(key, route)).values(status=200))


def free_key(conn: Connection, *, key: str, route: str) -> None:
    """Let a key stand for nothing again, as the work was refused; a key that was settled stays."""
    conn.execute(delete(t.requests).where(*_is(key, route), t.requests.c.status == IN_WORK))


def _is(key: str, route: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return t.requests.c.key == key, t.requests.c.route == route
