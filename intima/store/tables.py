"""The tables. SQL is written in ``intima.store`` only; migrations/ holds how these came to be."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class database_now(GenericFunction[float]):  # noqa: N801 - reads as the SQL function it is
    """Seconds since 1970 by the clock of the database, so that leases do not depend on a worker's clock."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _now_in_sqlite(_element: Any, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _now_in_postgresql(_element: Any, _compiler: SQLCompiler, **_: Any) -> str:
    return "(extract(epoch from clock_timestamp())::double precision)"


datasets = Table(
    "datasets",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("version", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

splits = Table(
    "splits",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("dataset", String(48), nullable=False, index=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("body", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

slides = Table(
    "slides",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("identity", String(64), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("info", JSON, nullable=False),
    Column("mpp", Double),
    Column("subject", Text),
    Column("created_at", Double, nullable=False),
)

benchmarks = Table(
    "benchmarks",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("job_id", String(48), nullable=False),
    Column("dataset", String(48), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

segmentations = Table(
    "segmentations",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("slide", String(48), nullable=False),
    Column("job_id", String(48), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("model", String(200), nullable=False, server_default=""),
    Column("doubt", Double),
    Column("parent", String(48)),
    Column("number", Integer),
    UniqueConstraint("parent", "number"),
    Index("ix_segmentations_created_at_id", "created_at", "id"),
    Index("ix_segmentations_doubt_created_at_id", "doubt", "created_at", "id"),
    Index("ix_segmentations_slide_created_at", "slide", "created_at"),
)

models = Table(
    "models",
    METADATA,
    Column("name", String(100), primary_key=True),
    Column("version", String(12), primary_key=True),
    Column("card", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

aliases = Table(
    "aliases",
    METADATA,
    Column("name", String(100), primary_key=True),
    Column("alias", String(100), primary_key=True),
    Column("version", String(12), nullable=False),
)

requests = Table(
    "requests",
    METADATA,
    Column("route", String(200), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_sha256", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("response", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

plans = Table(
    "plans",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("body", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

plan_uses = Table(
    "plan_uses",
    METADATA,
    Column("plan_id", String(48), ForeignKey("plans.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("a_sha256", String(64), nullable=False, index=True),
    Column("b_sha256", String(64), nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

jobs = Table(
    "jobs",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("state", String(12), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("unit_attempts", Integer, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("result_url", Text),
    Column("message", Text, nullable=False),
    Column("last_event", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("error_code", String(80)),
    Column("error_message", Text),
    Column("error_unit", Text),
    Column("flow", String(48), nullable=False, server_default=""),
    Column("turn", Integer, nullable=False, server_default="0"),
    Column("served_turn", Integer, index=True),
    Column("traceparent", String(55)),
    Index("ix_jobs_result_url", "result_url"),
    Index("ix_jobs_flow_turn", "flow", "turn"),
    Index("ix_jobs_state_kind", "state", "kind"),
)

units = Table(
    "units",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("job_id", String(48), ForeignKey("jobs.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("queue", String(40), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", String(12), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("owner", Text),
    Column("lease_until", Double),
    Column("ready_at", Double),
    Column("sends", Integer, nullable=False),
    Column("sent_at", Double),
    Column("fraction", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("told_at", Double),
    Column("beat_at", Double),
    Column("live", JSON(none_as_null=True)),
    Column("error_code", String(80)),
    Column("error_message", Text),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("result", JSON(none_as_null=True)),
    UniqueConstraint("job_id", "key"),
    Index("ix_units_state_queue_ready_at", "state", "queue", "ready_at"),
    Index("ix_units_job_id_kind_state", "job_id", "kind", "state", "key", "position"),
)

batches = Table(
    "batches",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("request", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

batch_items = Table(
    "batch_items",
    METADATA,
    Column("batch_id", String(48), ForeignKey("batches.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("slide", String(48), nullable=False),
    Column("segmentation", String(64)),
    Column("job_id", String(48), ForeignKey("jobs.id")),
    Column("error", JSON(none_as_null=True)),
)

unit_needs = Table(
    "unit_needs",
    METADATA,
    Column("unit_id", String(48), ForeignKey("units.id"), primary_key=True),
    Column("need_id", String(48), ForeignKey("units.id"), primary_key=True, index=True),
    Column("job_id", String(48), nullable=False, index=True),
    Column("required", Boolean, nullable=False, server_default=true()),
)

events = Table(
    "events",
    METADATA,
    Column("job_id", String(48), ForeignKey("jobs.id"), primary_key=True),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("type", String(12), nullable=False),
    Column("data", JSON, nullable=False),
)

tokens = Table(
    "tokens",
    METADATA,
    Column("id", String(48), primary_key=True),
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
)

audit = Table(
    "audit",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("caller", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("previous_sha256", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Index("ix_audit_caller_at", "caller", "at"),
)
