"""Where blobs lie when they do not lie in the data folder."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from intima.errors import Invalid

_HINT = "Write it as s3://bucket/prefix; credentials and endpoint have settings of their own."


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket, or a part of one, and how to get in. Its text names no credentials."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    """Base URL of the server; null: Amazon's."""
    region: str = "us-east-1"
    access_key_id: str | None = field(default=None, repr=False)
    """Null, as the secret: what the machine has, as the role of a pod or of a host."""
    secret_access_key: str | None = field(default=None, repr=False)
    copies_bytes: int | None = None
    """What copies of blobs may take in the data folder; null: a fifth of its volume."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def parse_s3_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``.

    Raises:
        Invalid: it is none.
    """
    parts = urlsplit(url)
    strange = parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc
    if parts.scheme != "s3" or not parts.netloc or strange:
        raise Invalid("The address of the blobs is no address of a bucket.", code="bad_blobs_url", hint=_HINT)
    return parts.netloc, parts.path.strip("/")
