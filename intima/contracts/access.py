"""Who may do what: scopes, tokens, records of what was asked for."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field

from intima.contracts._base import Contract

Scope: TypeAlias = Literal["read", "segment", "train", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
IMPLIED: Mapping[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "segment": frozenset({"read", "segment"}),
    "train": frozenset({"read", "train"}),
    "admin": frozenset(SCOPES),
}
"""What a scope lets do: who may start work may look at it."""

MOST_DAYS = 3650
DEFAULT_DAYS = 90


def _ordered(scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    return tuple(s for s in SCOPES if s in scopes)


Scopes: TypeAlias = Annotated[tuple[Scope, ...], Field(min_length=1), AfterValidator(_ordered)]


class Limits(Contract):
    """What a token may use; null: what the installation allows by default."""

    requests_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    """Of all kinds, over the last 60 s."""
    starts_per_day: int | None = Field(default=None, ge=0, le=1_000_000)
    """Requests over the last 24 h that change something or start work: uploads, segmentations, benchmarks."""
    upload_bytes_per_day: int | None = Field(default=None, ge=0, le=2**50)
    """Bytes of the bodies of those requests over the last 24 h; a request must then state its length."""


class TokenRequest(Contract):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
    """What it is for, or whose it is; it stands in the audit log."""
    scopes: Scopes
    valid_days: float = Field(default=DEFAULT_DAYS, gt=0, le=MOST_DAYS)
    limits: Limits = Limits()


class TokenView(Contract):
    """A token without its secret."""

    id: str
    name: str
    scopes: Scopes
    limits: Limits
    created_at: str
    created_by: str
    """Id of the token that made it, or "command line" or "setting"."""
    expires_at: str | None
    """Times are RFC 3339 in UTC. Null: the one of INTIMA_ADMIN_TOKEN, which is valid as long as it is set."""
    revoked_at: str | None
    last_used_at: str | None
    """To the minute."""


class TokenMade(Contract):
    """A new token, and the only time its secret is shown."""

    token: str
    """What goes behind "Authorization: Bearer"."""
    view: TokenView


class Caller(Contract):
    """Who asks, as the service sees it."""

    id: str
    """Id of the token, "oidc:" and subject, or "local" where no tokens are asked for."""
    name: str
    scopes: Scopes
    limits: Limits = Limits()
    expires_at_s: float | None = None
    """Seconds since 1970."""

    def may(self, scope: Scope) -> bool:
        """Tell whether what is asked for is within the scopes."""
        return any(scope in IMPLIED[held] for held in self.scopes)


class AuditEntry(Contract):
    """What is written down of a request before it is done."""

    caller: str
    name: str
    operation: str
    """Operation id of the HTTP door, or method of the gRPC door."""
    target: str
    """Path of the resource."""
    request_id: str
    bytes: int = Field(ge=0, le=2**53)
    """Announced size of the body; 0 where it is not announced."""


class AuditRecord(AuditEntry):
    """One link of the chain."""

    number: int
    at: str
    previous_sha256: str
    sha256: str
    """Of the canonical JSON of all other fields, the link before among them."""


class AuditCheck(Contract):
    """Whether the chain is whole."""

    records: int
    intact: bool
    broken_at: int | None
    """Number of the first record that does not fit."""
    last_sha256: str
    """Write this down elsewhere: with it, cutting off the end of the log can be seen."""
