"""Names of stored things: random ids, content-derived keys, hashes of contracts."""

import hashlib
import json
import re
import secrets
from collections.abc import Callable

from intima.arrays import Json
from intima.contracts._base import Contract
from intima.errors import Invalid, NotFound

_ID = re.compile(r"[a-z]{2,12}_[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def new_id(prefix: str, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a random id of 128 bits: ``job_`` and 32 hex digits."""
    return f"{prefix}_{random_bytes(16).hex()}"


def check_id(value: str, *, prefix: str) -> str:
    """Return an id that has the shape of one of ours.

    Raises:
        NotFound: it has not, so that nothing can exist under it.
    """
    if not _ID.fullmatch(value) or not value.startswith(f"{prefix}_"):
        raise NotFound(f"There is no {prefix} named {value[:80]!r}.", hint=f"Ids look like {prefix}_0123...")
    return value


def check_sha256(value: str) -> str:
    """Return a SHA-256 in lower-case hex.

    Raises:
        Invalid: it is not 64 hex digits.
    """
    if not is_sha256(value):
        raise Invalid(f"Got {value[:80]!r}; need 64 lower-case hex digits of a SHA-256.", code="bad_sha256")
    return value


def is_sha256(value: str) -> bool:
    """Tell whether a text is a SHA-256 in lower-case hex."""
    return _SHA256.fullmatch(value) is not None


def canonical_json(value: Json) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def json_sha256(value: Json) -> str:
    """Return the SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def contract_sha256(contract: Contract) -> str:
    """Return the SHA-256 of the canonical JSON of a contract."""
    return json_sha256(contract.model_dump(mode="json", by_alias=True))


def derived_id(prefix: str, parts: Json) -> str:
    """Return an id that follows from its parts alone: equal parts, equal id."""
    return f"{prefix}_{json_sha256(parts)[:32]}"


def segmentation_id(*, slide_sha256: str, model: str, parameters: Json) -> str:
    """Return the identity of a segmentation: the slide's content, ``name@version``, and all that changes pixels.

    Two requests with one identity share one result.
    """
    parts = {"slide_sha256": check_sha256(slide_sha256), "model": model, "parameters": parameters}
    return derived_id("seg", parts)
