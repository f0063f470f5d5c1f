"""Rows of the model registry: immutable versions, movable aliases."""

from collections.abc import Iterator

from sqlalchemy import Connection, Row, case, insert, select, update

from intima.contracts.evidence import LABELLED
from intima.contracts.model import OUTSIDE_VERSION, ModelCard, ModelVersion
from intima.errors import Invalid, NotFound
from intima.store import tables as t
from intima.store.catalog import rfc3339
from intima.store.keys import json_sha256
from intima.store.paging import Page, page_of

VERSION_DIGITS = 12


def model_version(card: ModelCard) -> str:
    """Return the version a card has: the first 12 hex digits of the SHA-256 of its canonical JSON.

    Fields that have their default are left out, so that a card keeps its version when cards get new fields, and so is
    what differs between two publications of one model.
    """
    body = card.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(OUTSIDE_VERSION))
    return json_sha256(body)[:VERSION_DIGITS]


def add_model(conn: Connection, card: ModelCard) -> ModelVersion:
    """Store a model version; the same card twice is one version."""
    version = model_version(card)
    if _find(conn, card.name, version) is None:
        row = {"name": card.name, "version": version, "card": card.model_dump(mode="json", by_alias=True)}
        conn.execute(insert(t.models).values(**row, created_at=t.database_now()))
    return get_model(conn, f"{card.name}@{version}")


def get_model(conn: Connection, ref: str) -> ModelVersion:
    """Return the model ``name@version``, ``name@alias``, or of a bare name the newest version.

    Raises:
        NotFound: there is none; the message names those there are.
    """
    name, _, wanted = ref.partition("@")
    row = (
        _find(conn, name, wanted) or _find(conn, name, _aliased(conn, name, wanted)) if wanted else _newest(conn, name)
    )
    if row is None:
        known = ", ".join(m.ref for m in list_models(conn)[:10]) or "none yet"
        raise NotFound(f"There is no model {ref[:200]!r}.", code="model_not_found", hint=f"Published: {known}.")
    return _model(conn, row)


def list_models(conn: Connection) -> tuple[ModelVersion, ...]:
    """Return all versions of all models, newest first."""
    rows = conn.execute(select(t.models).order_by(t.models.c.created_at.desc(), t.models.c.name, t.models.c.version))
    return tuple(_model(conn, row) for row in rows.all())


def page_models(conn: Connection, *, page_size: int = 50, page_token: str = "") -> Page[ModelVersion]:
    """Return all versions of all models, newest first, one page of them. Raises Invalid for a bad page."""
    ref = t.models.c.name + "@" + t.models.c.version
    page = page_of(conn, t.models, page_size=page_size, page_token=page_token, key=ref)
    return page.map(lambda row: _model(conn, row))


def set_alias(conn: Connection, *, name: str, alias: str, version: str) -> ModelVersion:
    """Point an alias at a version; moves it where it exists.

    Raises:
        NotFound: no such version.
        Invalid: the alias could be read as a version.
    """
    if _find(conn, name, version) is None:
        raise NotFound(f"There is no model {name}@{version}.", code="model_not_found")
    if not alias or "@" in alias or len(alias) > 100 or _find(conn, name, alias) is not None:
        raise Invalid(f"Got alias {alias[:100]!r}; need 1 to 100 characters, no @, not a version.", pointer="/alias")
    where = (t.aliases.c.name == name) & (t.aliases.c.alias == alias)
    if conn.execute(update(t.aliases).where(where).values(version=version)).rowcount == 0:
        conn.execute(insert(t.aliases).values(name=name, alias=alias, version=version))
    return get_model(conn, f"{name}@{version}")


def _find(conn: Connection, name: str, version: str | None) -> Row[tuple[object, ...]] | None:
    query = select(t.models).where(t.models.c.name == name, t.models.c.version == version)
    return conn.execute(query).one_or_none()


def _newest(conn: Connection, name: str) -> Row[tuple[object, ...]] | None:
    """Return the newest version of a name; one that was measured again only where there is no other.

    It has the networks of the version it was measured from, which may be old, and the errors of one laboratory.
    """
    measured = t.models.c.card["evidence"]["basis"].as_string() == LABELLED
    order = (case((measured, 1), else_=0), t.models.c.created_at.desc(), t.models.c.version)
    return conn.execute(select(t.models).where(t.models.c.name == name).order_by(*order).limit(1)).one_or_none()


def _aliased(conn: Connection, name: str, alias: str) -> str | None:
    query = select(t.aliases.c.version).where(t.aliases.c.name == name, t.aliases.c.alias == alias)
    return conn.execute(query).scalar()


def _alias_names(conn: Connection, name: str, version: str) -> Iterator[str]:
    query = select(t.aliases.c.alias).where(t.aliases.c.name == name, t.aliases.c.version == version)
    yield from conn.execute(query.order_by(t.aliases.c.alias)).scalars()


def _model(conn: Connection, row: Row[tuple[object, ...]]) -> ModelVersion:
    return ModelVersion(
        name=row.name,
        version=row.version,
        card=ModelCard.model_validate(row.card),
        created_at=rfc3339(row.created_at),
        aliases=tuple(_alias_names(conn, row.name, row.version)),
    )
