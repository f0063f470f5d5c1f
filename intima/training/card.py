"""Write the card of a trained model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intima import __version__
from intima.contracts.benchmark import ArchitectureSpec, EncoderStart, LeaderboardEntry, ParameterValue
from intima.contracts.dataset import Dataset
from intima.contracts.evidence import OutOfFoldEvidence
from intima.contracts.model import Cost, Latency, LeftOut, Member, ModelCard, ProtocolScore, Variant
from intima.review import summary_of
from intima.training.data import Resolution
from intima.training.scoring import Tiling

_MAX_NAME = 100
_UNRECORDED = "not recorded: trained by an earlier version"


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of a model's files besides the members in float32."""

    variants: tuple[Variant, ...]
    left_out: tuple[LeftOut, ...]
    cost: Cost
    latency: tuple[Latency, ...]


def write_card(
    name: str,
    *,
    architecture: ArchitectureSpec,
    dataset: Dataset,
    resolution: Resolution,
    members: Sequence[Member],
    parameters: Mapping[str, ParameterValue],
    start: EncoderStart | None,
    scores: Sequence[ProtocolScore],
    benchmark: str | None,
    parity_max_abs: float,
    parameter_count: int,
    dropout_rate: float | None,
    leakage_override: str | None = None,
    notes: str = "",
    files: Published | None = None,
    evidence: OutOfFoldEvidence | None = None,
) -> ModelCard:
    """Return a card. A dataset whose name says "synthetic" makes a model marked as trained on synthetic images.

    ``start`` is what the members recorded when they were trained; null where they recorded nothing.
    """
    tiling = Tiling.of(architecture)
    return ModelCard(
        name=name,
        architecture=architecture,
        classes=dataset.classes,
        mpp=resolution.mpp,
        pixel_scale=resolution.pixel_scale,
        tile_px=tiling.tile_px,
        halo_px=tiling.halo_px,
        members=tuple(members),
        parameters=dict(parameters),
        encoder_weights=_UNRECORDED if start is None else start.origin,
        weights_licence=_UNRECORDED if start is None else start.licence,
        dataset=dataset.name,
        dataset_version=dataset.version,
        dataset_licence=dataset.licence,
        synthetic=dataset.synthetic,
        benchmark=benchmark,
        scores=tuple(scores),
        leakage_override=leakage_override,
        image_comparison=dataset.image_comparison,
        parity_max_abs=parity_max_abs,
        parameter_count=parameter_count,
        dropout_rate=dropout_rate,
        intima_version=__version__,
        notes=notes,
        variants=() if files is None else files.variants,
        left_out=() if files is None else files.left_out,
        cost=None if files is None else files.cost,
        latency=() if files is None else files.latency,
        evidence=evidence,
        calibration=summary_of(evidence),
    )


def card_name(dataset_name: str, label: str) -> str:
    """Return "<dataset>-<label>" in the alphabet of model names.

    >>> card_name("Carotid Arteries (EVG)", "unet")
    'carotid-arteries-evg-unet'
    """
    tail = _slug(label) or "model"
    head = _slug(dataset_name)[: _MAX_NAME - len(tail) - 1].rstrip("-._")
    return f"{head}-{tail}" if head else tail


def protocol_scores(
    leaderboard: Sequence[LeaderboardEntry], *, label: str, biased: frozenset[str]
) -> tuple[ProtocolScore, ...]:
    """Return the cross-validation scores of one contender.

    ``biased`` names the protocols whose search saw the test cases.
    """
    return tuple(
        ProtocolScore(
            protocol=e.protocol,
            metric=e.metric,
            mean=e.mean,
            ci95=e.ci95,
            n_subjects=e.n_subjects,
            selection_biased=e.protocol in biased,
        )
        for e in leaderboard
        if e.model == label
    )


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")
    return slug[:_MAX_NAME]
