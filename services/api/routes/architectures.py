"""Architectures: what can be trained here, with which weights, and what can be searched."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel

from intima.architectures import ARCHITECTURES, Architecture, complete_architecture
from intima.architectures.sources import is_there, sources_of
from intima.contracts.benchmark import ArchitectureWish, EncoderTraining, WeightsKind
from intima.contracts.search import Space
from intima.spaces import PARAMETERS, default_space
from services.api.dependencies import StateDep

router = APIRouter(prefix="/v1/architectures", tags=["benchmarks"])


class WeightsView(BaseModel):
    """Pretrained weights that an encoder can start from; random weights are always there."""

    kind: WeightsKind
    file: str
    package: str | None
    """The package that holds the file; null: this deployment's folder of weights."""
    licence: str
    available: bool


class EncoderView(BaseModel):
    """One encoder of an architecture."""

    name: str
    weights: list[WeightsView]


class ArchitectureView(BaseModel):
    """One architecture; of each choice the first is the default."""

    name: str
    encoders: list[EncoderView]
    any_timm_encoder: bool
    """Whether "tu-" and a timm name is an encoder too."""
    input_px: int
    fixed_input: bool
    encoder_training: list[EncoderTraining]
    has_prompts: bool
    fewest_crops: int
    """Least batch in training."""
    space: Space
    """What a search changes where the benchmark says nothing."""


class SearchableView(BaseModel):
    """What one parameter of a search may be."""

    low: float | None
    high: float | None
    integer: bool
    names: list[str] | None
    """The names it can take; null where it is a number, or an encoder of the architecture."""
    choices_only: bool


class ArchitecturesView(BaseModel):
    """Every architecture, and everything that can be searched."""

    architectures: list[ArchitectureView]
    searchable: Mapping[str, SearchableView]


@router.get("", operation_id="list_architectures")
def list_architectures(state: StateDep) -> ArchitecturesView:
    """List the architectures with encoders, weights and default search spaces."""
    folder = state.storage.weights_folder
    views = [_view(name, known, folder=folder) for name, known in ARCHITECTURES.items()]
    return ArchitecturesView(architectures=views, searchable={n: _searchable(n) for n in PARAMETERS})


def _view(name: str, known: Architecture, *, folder: Path) -> ArchitectureView:
    return ArchitectureView(
        name=name,
        encoders=[EncoderView(name=e, weights=_weights(name, e, folder=folder)) for e in known.encoders],
        any_timm_encoder=known.any_timm,
        input_px=known.input_px,
        fixed_input=known.fixed_input,
        encoder_training=list(known.encoder_training),
        has_prompts=known.has_prompts,
        fewest_crops=known.fewest_crops,
        space=default_space(name),
    )


def _weights(name: str, encoder: str, *, folder: Path) -> list[WeightsView]:
    spec = complete_architecture(ArchitectureWish(name=name, encoder=encoder))
    return [
        WeightsView(
            kind=s.kind, file=s.file, package=s.package, licence=s.licence, available=is_there(s, folder=folder)
        )
        for s in sources_of(spec)
    ]


def _searchable(name: str) -> SearchableView:
    known = PARAMETERS[name]
    numeric = known.names is None and name != "encoder"
    return SearchableView(
        low=known.lowest if numeric else None,
        high=known.highest if numeric else None,
        integer=known.counted,
        names=None if known.names is None else list(known.names),
        choices_only=known.chosen,
    )
