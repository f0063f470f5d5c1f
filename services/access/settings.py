"""Settings of access, the same for the api and the stats service."""

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from intima.contracts.access import Limits
from intima.errors import Conflict
from services.addresses import is_loopback
from services.configuration import Configuration


class AccessSettings(Configuration):
    """Who may ask. By default nobody is asked for a token, and only this machine is listened to."""

    auth: Literal["none", "tokens"] = "none"
    """tokens: every request but those for health and documentation shows one."""
    admin_token: SecretStr | None = None
    """A token with all scopes, at least 32 characters; for making the first others. Better a file than a variable."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Of a token that has no limit of its own; null: no limit."""
    starts_per_day: int | None = Field(default=None, ge=0)
    """Likewise, of requests that change something or start work."""
    upload_bytes_per_day: int | None = Field(default=None, ge=0)
    """Likewise, of the bodies of those requests."""
    oidc_issuer: str | None = None
    """Accept the signed tokens of this OpenID Connect issuer as well, e.g. https://login.example.org/realms/lab."""
    oidc_audience: str | None = None
    """What those tokens must be made out to; needed with an issuer."""
    oidc_scope_claim: str = "scope"
    """Claim that holds scopes, as words in one text or as a list."""
    oidc_scope_prefix: str = "intima:"
    """Before the name of a scope in that claim, e.g. intima:read."""
    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs tokens, or a proxy in front."""
    behind_proxy: bool = False
    """True only where a trusted proxy on a private network is the one client, as in docker-compose.yml."""
    published_on: str = "127.0.0.1"
    """Address that proxy listens on; one that other machines reach needs tokens."""
    queue: Literal["local", "celery"] = "local"
    """celery: there is a Redis, where units are announced and requests of a token are counted over all replicas."""
    redis_url: str = "redis://127.0.0.1:6379/0"
    host_names: tuple[str, ...] = ()
    """Names with a dot under which this service is reached without tokens; others are refused (DNS rebinding)."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of these origins, e.g. https://lab.example.org, may ask; none by default."""

    @property
    def shared_redis_url(self) -> str | None:
        """The Redis of this installation; null where it has none."""
        return self.redis_url if self.queue == "celery" else None

    @property
    def default_limits(self) -> Limits:
        """Limits of a token that has none of its own."""
        return Limits(
            requests_per_minute=self.requests_per_minute,
            starts_per_day=self.starts_per_day,
            upload_bytes_per_day=self.upload_bytes_per_day,
        )

    @model_validator(mode="after")
    def _check_oidc(self) -> "AccessSettings":
        if self.oidc_issuer is not None and self.oidc_audience is None:
            raise ValueError("INTIMA_OIDC_ISSUER needs INTIMA_OIDC_AUDIENCE: a token for another service is none here.")
        return self


def refuse_open_bind(settings: AccessSettings) -> None:
    """Raise Conflict where other machines could ask and nobody would ask them for a token."""
    if settings.auth == "tokens":
        return
    if not settings.behind_proxy and not is_loopback(settings.host):
        raise _open(f"listen on {settings.host}", "Listen on 127.0.0.1")
    if not is_loopback(settings.published_on):
        raise _open(f"be published on {settings.published_on}", "Publish on 127.0.0.1")


def _open(what: str, instead: str) -> Conflict:
    return Conflict(
        f"Refusing to {what} without authentication.",
        code="open_bind",
        hint=f"{instead}, or set INTIMA_AUTH=tokens and a first token in INTIMA_ADMIN_TOKEN.",
    )
