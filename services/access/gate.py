"""The gate: who asks, whether they may, and that it is written down before it is done."""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

from intima.contracts.access import SCOPES, AuditEntry, Caller, Limits, Scope
from intima.errors import IntimaError
from intima.store import audit, tokens
from intima.store.storage import Storage
from services.access.oidc import Issuer
from services.access.rates import Rates
from services.access.refusals import Refused, unauthenticated
from services.access.settings import AccessSettings

LOCAL = Caller(id="local", name="local", scopes=SCOPES)
"""Whoever asks where no tokens are asked for."""
FORGETS = "api"
"""The service that takes INTIMA_ADMIN_TOKEN back where it is set no more; others may have been started without it."""
REMEMBERED_S = 5.0
"""How long a token that was valid is believed: revoking takes this long at most."""
_MOST_REMEMBERED = 10_000
_SIZE_DIGITS = 15
MOST_TARGET = 500
"""Characters of a path in the audit log."""
_DAY_S = 86_400.0
LENGTH = "content-length"
_JWT = "eyJ"
"""How the header of a signed token begins: {" in base64."""

_log = logging.getLogger("intima.access")


UNCOUNTED = frozenset({"delete_upload", "store_upload"})
"""Operations that are written down and use nothing of the day's limits: they end what was counted when it began."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What something that can be asked for takes."""

    scopes: tuple[Scope, ...]
    """One of these; none: not even a token."""
    changes: bool = False
    """Whether it changes something or starts work: then it is written down, and counts for the day's limits but for
    the ``UNCOUNTED``.
    """
    announces: str = LENGTH
    """Header that says how many bytes it brings, now or in requests that follow."""


ANYBODY = Rule(())
READ = Rule(("read",))
SEGMENT = Rule(("segment",), changes=True)
TRAIN = Rule(("train",), changes=True)
ADMIN = Rule(("admin",), changes=True)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for."""

    name: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, before its body is read."""

    operation: Operation
    authorization: str | None
    """The header, or the metadata of a call."""
    target: str
    request_id: str
    bytes: int | None
    """Announced size of the body; null where it is not announced."""


def announced_bytes(text: str) -> int | None:
    """Return a size that a client announces; null where it is none that can be."""
    return int(text) if text.isdecimal() and len(text) <= _SIZE_DIGITS else None


class Gate(Protocol):
    """Lets requests in."""

    def admit(self, asked: Asked) -> Caller:
        """Return who asks. Raises Refused, Unavailable."""
        ...

    def admit_at_once(self, asked: Asked) -> Caller | None:
        """Return who asks where that needs no database, issuer or Redis, else null: then ``admit`` must be asked."""
        ...


class OpenGate:
    """Lets everybody in: on one machine, or behind a proxy that knows its users."""

    def admit(self, asked: Asked) -> Caller:  # noqa: ARG002 - whatever is asked
        """Return the local caller."""
        return LOCAL

    def admit_at_once(self, asked: Asked) -> Caller:  # noqa: ARG002 - whatever is asked
        """Return the local caller."""
        return LOCAL


@dataclass(slots=True)
class TokenGate:
    """Lets in who shows a valid token with the scope it takes, within its limits."""

    storage: Storage
    defaults: Limits
    rates: Rates
    issuer: Issuer | None = None
    _known: dict[str, tuple[float, tuple[Caller, Limits]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, asked: Asked) -> Caller:
        """Return who asks.

        Raises:
            Refused: no token or none that is valid (unauthenticated), not its scope (forbidden), too many requests
                (rate_limited), the day's share is used (quota_exceeded), no length announced (length_required).
            Unavailable: the database or the issuer does not answer.
        """
        caller, limits = self._identify(_bearer(asked.authorization))
        self._hold_rate(caller, limits)
        require(caller, *asked.operation.rule.scopes)
        if asked.operation.rule.changes:
            self._enter(caller, limits, asked)
        return caller

    def admit_at_once(self, asked: Asked) -> Caller | None:
        """Return who asks where the token is remembered, has no rate, and nothing is to be written down."""
        if asked.operation.rule.changes:
            return None
        known = self._remembered(tokens.hash_of(_bearer(asked.authorization)))
        if known is None or known[1].requests_per_minute is not None:
            return None
        require(known[0], *asked.operation.rule.scopes)
        return known[0]

    def forget(self) -> None:
        """Look every token up anew from now on."""
        with self._lock:
            self._known.clear()

    def _identify(self, secret: str) -> tuple[Caller, Limits]:
        """Return who shows this, and what they may use."""
        hashed, now = tokens.hash_of(secret), time.monotonic()
        known = self._remembered(hashed)
        if known is not None:
            return known
        caller, valid_s = self._look_up(secret)
        found = caller, _effective(caller.limits, self.defaults)
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[hashed] = (now + min(valid_s, REMEMBERED_S), found)
        return found

    def _remembered(self, hashed: str) -> tuple[Caller, Limits] | None:
        with self._lock:
            until, found = self._known.get(hashed, (0.0, None))
        return found if time.monotonic() < until else None

    def _look_up(self, secret: str) -> tuple[Caller, float]:
        """Return who shows this, and for how many seconds more it is valid."""
        if self.issuer is not None and secret.startswith(_JWT) and secret.count(".") == 2:
            caller, now = self.issuer.identify(secret), time.time()
        else:
            caller, now = self._of_ours(secret)
        if caller.expires_at_s is None:
            return caller, REMEMBERED_S
        if caller.expires_at_s <= now:
            raise unauthenticated("This token has expired.", hint="Ask an administrator for a new one.")
        return caller, caller.expires_at_s - now

    def _of_ours(self, secret: str) -> tuple[Caller, float]:
        with self.storage.reading() as connection:
            row, now = tokens.find_row(connection, secret), tokens.now_s(connection)
        if row is None:
            raise unauthenticated("This token is not known.", hint="Give one that was made by POST /v1/tokens.")
        if row.revoked_at is not None:
            raise unauthenticated("This token was revoked.", hint="Ask an administrator for a new one.")
        if tokens.use_is_news(row, now=now):
            threading.Thread(target=self._note_use, args=(row.id, now), daemon=True).start()
        return tokens.caller_of(row), now

    def _note_use(self, token_id: str, now: float) -> None:
        """Write down a use beside the request, which must not wait for a lock or fail on a full volume."""
        try:
            with self.storage.writing() as connection:
                tokens.note_use(connection, token_id, now=now)
        except IntimaError as error:
            _log.warning("the use of %s is not written down: %s", token_id, error.message)

    def _hold_rate(self, caller: Caller, limits: Limits) -> None:
        if limits.requests_per_minute is None:
            return
        wait_s = self.rates.wait_s(caller.id, per_minute=limits.requests_per_minute)
        if wait_s > 0:
            raise Refused(
                f"More than {limits.requests_per_minute} requests in a minute.",
                code="rate_limited",
                hint="Wait as long as Retry-After says.",
                retry_after_s=wait_s,
            )

    def _enter(self, caller: Caller, limits: Limits, asked: Asked) -> None:
        """Hold the request to the day's limits and write it down, in one transaction."""
        entry = AuditEntry(
            caller=caller.id,
            name=caller.name,
            operation=asked.operation.name,
            target=asked.target,
            request_id=asked.request_id,
            bytes=asked.bytes or 0,
        )
        with self.storage.writing() as connection:
            audit.wait_for_turn(connection)
            limited = limits.starts_per_day is not None or limits.upload_bytes_per_day is not None
            if limited and asked.operation.name not in UNCOUNTED:
                used = audit.use_of_day(connection, caller.id, uncounted=UNCOUNTED)
                _hold_quota(used, limits, asked.bytes)
            audit.append(connection, entry)


def require(caller: Caller, *scopes: Scope) -> None:
    """Raise Refused where a caller has none of these scopes."""
    if not any(caller.may(scope) for scope in scopes):
        wanted, held = " or ".join(scopes), ", ".join(caller.scopes)
        raise Refused(
            f"This takes the scope {wanted}; the token has {held}.",
            code="forbidden",
            hint="Ask an administrator for a token with that scope.",
        )


def open_gate(storage: Storage, settings: AccessSettings, *, service: str, redis_url: str | None) -> Gate:
    """Return the gate of a service. Requests are counted in Redis where there is one, else in this process.

    Raises:
        Invalid: INTIMA_ADMIN_TOKEN could be guessed.
    """
    if settings.auth == "none":
        return OpenGate()
    with storage.writing() as connection:
        if settings.admin_token is None:
            if service == FORGETS:
                tokens.forget_admin_token(connection)
        else:
            tokens.know_admin_token(connection, settings.admin_token.get_secret_value())
    issuer = None
    if settings.oidc_issuer is not None:
        assert settings.oidc_audience is not None
        issuer = Issuer(
            settings.oidc_issuer,
            audience=settings.oidc_audience,
            scope_claim=settings.oidc_scope_claim,
            scope_prefix=settings.oidc_scope_prefix,
        )
    return TokenGate(storage, settings.default_limits, Rates(service, redis_url), issuer)


def _bearer(authorization: str | None) -> str:
    scheme, _, secret = (authorization or "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or not secret.isascii():
        raise unauthenticated("This takes a token.", hint='Send it as "Authorization: Bearer intima_...".')
    return secret


def _effective(own: Limits, defaults: Limits) -> Limits:
    given = own.model_dump(exclude_none=True)
    return Limits.model_validate(defaults.model_dump() | given)


def _hold_quota(used: tuple[int, int, float], limits: Limits, announced_bytes: int | None) -> None:
    count, total, oldest_s = used
    if limits.starts_per_day is not None and count >= limits.starts_per_day:
        raise _used_up(f"{count} of {limits.starts_per_day} requests that start or change something", oldest_s)
    if limits.upload_bytes_per_day is None:
        return
    if announced_bytes is None:
        raise Refused(
            "The size of this body is not announced, and this token may send only so many bytes a day.",
            code="length_required",
            hint="Send it with Content-Length instead of in chunks.",
        )
    if total + announced_bytes > limits.upload_bytes_per_day:
        share = f"{total} of {limits.upload_bytes_per_day} bytes, and this request has {announced_bytes}"
        raise _used_up(share, oldest_s)


def _used_up(what: str, oldest_s: float) -> Refused:
    return Refused(
        f"This token has used {what} in the last 24 h.",
        code="quota_exceeded",
        hint="Wait as long as Retry-After says, or ask an administrator for a larger share.",
        retry_after_s=oldest_s or _DAY_S,
    )
