"""Settings of the store, the same in every service."""

from pathlib import Path

from pydantic import Field, SecretStr

from intima.errors import Invalid
from intima.store.addresses import S3Address, parse_s3_url
from intima.store.storage import Storage, open_storage
from services.configuration import Configuration


class StoreConfiguration(Configuration):
    """Where this deployment keeps everything: see docs/storage.md."""

    data: Path = Path("intima-data")
    """Folder of the embedded database, the blobs and what can be made again; the same for all services."""
    database_url: str | None = None
    """SQLAlchemy URL; null takes SQLite inside the data folder."""
    blobs_url: str | None = None
    """``s3://bucket/prefix``; null keeps blobs in the data folder."""
    s3_endpoint: str | None = None
    """Base URL of a server that speaks S3; null: Amazon's."""
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    """Null, as the secret: what the machine offers, as the role of a pod or of a host."""
    s3_secret_access_key: SecretStr | None = None
    copies_bytes: int | None = Field(default=None, ge=1)
    """What copies of blobs of a bucket may take in the data folder; null: a fifth of its volume."""

    @property
    def blobs_at(self) -> S3Address | None:
        """The bucket of the blobs; null: the data folder.

        Raises:
            Invalid: the address is none, or one half of the credentials is missing.
        """
        if self.blobs_url is None:
            return None
        bucket, prefix = parse_s3_url(self.blobs_url)
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise Invalid(
                "Got one half of the credentials of the object store.",
                code="bad_s3_credentials",
                hint="Set INTIMA_S3_ACCESS_KEY_ID and INTIMA_S3_SECRET_ACCESS_KEY, or neither.",
            )
        secret = None if self.s3_secret_access_key is None else self.s3_secret_access_key.get_secret_value()
        return S3Address(
            bucket,
            prefix,
            endpoint=self.s3_endpoint,
            region=self.s3_region,
            access_key_id=self.s3_access_key_id,
            secret_access_key=secret,
            copies_bytes=self.copies_bytes,
        )

    def open_store(self) -> Storage:
        """Open the store, migrated to this version. Raises Invalid, Unavailable."""
        return open_storage(self.data, self.database_url, blobs_at=self.blobs_at)
