"""Metrics of units and of segmentations, whoever runs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.telemetry.labels import Bounded

REGISTRY = CollectorRegistry()
IN_REQUEST = "request"
"""Queue of a unit that a request claimed as it made it: it waits for nothing."""
_WAITS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)
_WORK = (0.1, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600)

_ended = Counter(
    "intima_unit_attempts",
    "Attempts at units that ended; ready: it will be tried again, lost: another worker has it.",
    ["kind", "queue", "outcome"],
    registry=REGISTRY,
)
_waited = Histogram(
    "intima_unit_queue_seconds",
    "How long a unit was ready before somebody claimed it.",
    ["kind", "queue"],
    buckets=_WAITS,
    registry=REGISTRY,
)
_worked = Histogram(
    "intima_unit_compute_seconds",
    "From the claim of a unit to the end of that attempt.",
    ["kind", "queue", "outcome"],
    buckets=_WORK,
    registry=REGISTRY,
)
_failures = Counter("intima_unit_failures", "Attempts that failed, by reason.", ["kind", "code"], registry=REGISTRY)
_segmentations = Counter(
    "intima_segmentations",
    "Segmentations that ended, in jobs and in requests.",
    ["model", "version", "provider", "precision", "where", "outcome"],
    registry=REGISTRY,
)
_segmenting = Histogram(
    "intima_segmentation_compute_seconds",
    "What a finished segmentation took without its wait.",
    ["model", "version", "provider", "precision", "where"],
    buckets=_WORK,
    registry=REGISTRY,
)
_pixels = Counter(
    "intima_segmentation_megapixels",
    "Pixels of finished segmentations at the resolution of their model.",
    ["model", "version", "provider", "precision", "where"],
    registry=REGISTRY,
)
_codes, _refs = Bounded(200), Bounded(100)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a unit that has ended."""

    kind: str
    queue: str
    payload: Mapping[str, Any]
    outcome: str
    queued_s: float
    computed_s: float
    code: str = ""
    """Why it failed; "" where it did not."""
    result: Mapping[str, Any] | None = None


def count_attempt(attempt: Attempt) -> None:
    """Record one attempt at a unit."""
    for outcome in ("done", "failed", "ready"):  # a series that is born with its first failure shows no increase of it
        _ended.labels(attempt.kind, attempt.queue, outcome)
    for code in ("blobs_unavailable", "storage_full"):
        _failures.labels(attempt.kind, code)
    _ended.labels(attempt.kind, attempt.queue, attempt.outcome).inc()
    _worked.labels(attempt.kind, attempt.queue, attempt.outcome).observe(attempt.computed_s)
    if attempt.queue != IN_REQUEST:
        _waited.labels(attempt.kind, attempt.queue).observe(attempt.queued_s)
    if attempt.code:
        _failures.labels(attempt.kind, _codes(attempt.code)).inc()
    if attempt.kind == "segment":
        _count_segmentation(attempt)


def _count_segmentation(attempt: Attempt) -> None:
    where: Literal["request", "job"] = "request" if attempt.queue == IN_REQUEST else "job"
    told = attempt.result.get("provenance", {}) if attempt.result else {}
    ref = _refs(str(attempt.payload.get("model", "")))
    model, _, version = ref.partition("@")
    used = told.get("provider") or attempt.payload.get("provider", "")
    provider = str(used).removesuffix("ExecutionProvider").lower()
    labels = (model, version, provider, str(attempt.payload.get("precision", "")), where)
    _segmentations.labels(*labels, attempt.outcome).inc()
    if attempt.outcome == "done":
        _segmenting.labels(*labels).observe(attempt.computed_s)
        _pixels.labels(*labels).inc(told.get("working_width", 0) * told.get("working_height", 0) / 1e6)
