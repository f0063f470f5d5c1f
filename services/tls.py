"""TLS of the gRPC doors: certificate files that are read again when they change."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc

from intima.errors import Conflict, Invalid
from services.configuration import Configuration

_Stamps: TypeAlias = tuple[tuple[int, int, int], ...]
"""Device-wide file number, size and time of change, by file: another one means another content."""

_log = logging.getLogger("intima.tls")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one server."""

    certificate: Path
    """The server's certificate, and after it those that lead to a root."""
    key: Path
    client_ca: Path | None = None
    """Who signs clients; where given, a client without such a certificate is refused."""

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path is not None)


class TlsSettings(Configuration):
    """Settings of TLS on the gRPC doors, the same for the api and the stats service."""

    grpc_tls_cert: Path | None = None
    """PEM file of the gRPC server's certificate and its chain; null: no TLS. Read again when it changes."""
    grpc_tls_key: Path | None = None
    """PEM file of its key."""
    grpc_tls_client_ca: Path | None = None
    """PEM file of who signs clients; where given, clients need such a certificate."""

    @property
    def grpc_tls(self) -> TlsFiles | None:
        """Files of a server that speaks TLS; null for one that does not. Raises Conflict for half of them."""
        given = (self.grpc_tls_cert, self.grpc_tls_key, self.grpc_tls_client_ca)
        if self.grpc_tls_cert is not None and self.grpc_tls_key is not None:
            return TlsFiles(self.grpc_tls_cert, self.grpc_tls_key, self.grpc_tls_client_ca)
        if given == (None, None, None):
            return None
        raise Conflict(
            "Got a part of the TLS files of gRPC; need certificate and key.",
            code="half_of_tls",
            hint="Set INTIMA_GRPC_TLS_CERT and INTIMA_GRPC_TLS_KEY, or neither, and no INTIMA_GRPC_TLS_CLIENT_CA "
            "alone.",
        )


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that look at the files at every handshake, so that a renewed certificate needs no restart.

    Files that cannot be used at a later time are logged, and the last good ones are kept.

    Raises:
        Invalid: the files cannot be used.
    """
    stamps = _stamps_of(files)
    return grpc.dynamic_ssl_server_credentials(
        _read(files), _renewals(files, stamps), require_client_authentication=files.client_ca is not None
    )


def _renewals(files: TlsFiles, seen: _Stamps) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Return what answers a handshake: the new certificate, or null where nothing has changed."""

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        try:
            now = _stamps_of(files)
            if now == seen:
                return None
            found = _read(files)
        except Invalid as error:
            _log.warning("still the old certificate: %s", error.message)
            return None
        seen = now
        _log.info("read %s again", files.certificate)
        return found

    return renewed


def _stamps_of(files: TlsFiles) -> _Stamps:
    try:
        stats = [path.stat() for path in files.all]
    except OSError as error:
        raise _unusable(error) from error
    return tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in stats)


def _read(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    """Return what the files hold. Raises Invalid where a file is missing, no PEM, or the key is another's."""
    try:
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        probe.load_cert_chain(files.certificate, files.key)
        if files.client_ca is not None:
            probe.load_verify_locations(files.client_ca)
        pair = (files.key.read_bytes(), files.certificate.read_bytes())
        roots = None if files.client_ca is None else files.client_ca.read_bytes()
    except OSError as error:
        raise _unusable(error) from error
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)


def _unusable(error: OSError) -> Invalid:
    where = f" {error.filename}" if error.filename else ""
    return Invalid(
        f"Got TLS files of gRPC that cannot be used:{where} {error.strerror or error}.",
        code="bad_tls_files",
        hint="Need PEM files that this process may read, and the key of this certificate.",
    )
