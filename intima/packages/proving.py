"""Try networks from outside in a limited child process before they are stored."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from intima.arrays import Json
from intima.confined import Limits, child
from intima.contracts.model import ModelCard
from intima.errors import Invalid

_CHILD = "intima.packages._child"
_MEMORY_PER_BYTE = 8
"""Weights are held by the file, its parsed form and the runtime's own copies."""
_MOST_MEMORY = 16 * 2**30
_CPU_S = 120
_WALL_S = 240.0


def prove_networks(paths: Mapping[str, Path], *, card: ModelCard) -> None:
    """Check every network and run it once on a tile.

    Args:
        paths: files by the name they have in the package.
        card: says how many classes a network gives and how large its tiles are.

    Raises:
        Invalid: names the first file that is unsafe, is no net of this card, or stops the child.
    """
    with TemporaryDirectory(prefix="intima-empty-") as empty:
        arguments = {
            "paths": [str(p) for p in paths.values()],
            "empty": empty,
            "classes": len(card.classes),
            "tile_px": card.tile_px,
            "dropout_rate": card.dropout_rate,
        }
        limits = _limits(paths, card)
        with child(_CHILD, arguments, limits, method="spawn") as started:
            for name in paths:
                _require_good(name, started.answer(limits.wall_s))


def _limits(paths: Mapping[str, Path], card: ModelCard) -> Limits:
    largest = max(path.stat().st_size for path in paths.values())
    stated = 0 if card.cost is None else 2 * card.cost.peak_memory_bytes
    memory = Limits().memory_bytes + _MEMORY_PER_BYTE * largest + stated
    return Limits(memory_bytes=min(memory, _MOST_MEMORY), cpu_s=_CPU_S, wall_s=_WALL_S)


def _require_good(name: str, answer: Json | None) -> None:
    if answer is None:
        raise Invalid(
            f"{name}: the process that tried this network was stopped: too much memory or time, or a crash.",
            code="unsafe_model",
            pointer="/file",
        )
    if "error" in answer:
        raise Invalid(f"{name}: {answer['error']['message']}", code=str(answer["error"]["code"]), pointer="/file")
