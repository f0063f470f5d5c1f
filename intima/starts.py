"""What each contender of a benchmark starts from, decided once for all its units when it is submitted."""

from pathlib import Path

from intima.architectures import complete_architecture
from intima.architectures.sources import resolve_start
from intima.contracts.benchmark import ArchitectureSpec, BenchmarkSpec, EncoderStart
from intima.contracts.search import Space
from intima.errors import Invalid
from intima.schedule import Starts, label_architectures
from intima.spaces import complete_space, variants


def resolve_starts(spec: BenchmarkSpec, *, folder: Path) -> Starts:
    """Return the start weights of every encoder that the contenders of a benchmark can build.

    Raises:
        Invalid: weights are not there, or the encoders that one search chooses from start from different kinds.
    """
    contenders = label_architectures([complete_architecture(wish) for wish in spec.architectures])
    return {
        label: _starts_of(contender, complete_space(contender, spec.search.space), folder=folder)
        for label, contender in contenders.items()
    }


def _starts_of(contender: ArchitectureSpec, space: Space, *, folder: Path) -> dict[str, EncoderStart]:
    specs = {variant.encoder: variant for variant in variants(contender, space)}
    starts = {encoder: resolve_start(variant, folder=folder) for encoder, variant in specs.items()}
    if len({start.kind for start in starts.values()}) > 1:
        found = ", ".join(f"{encoder} {start.kind}" for encoder, start in starts.items())
        raise Invalid(
            f"Got a search over encoders of {contender.name} that start from different kinds of weights: {found}.",
            code="mixed_start_weights",
            hint="Send weights 'random', or search encoders that have weights of one kind.",
            pointer="/search/space/encoder",
        )
    return starts
