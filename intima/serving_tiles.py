"""In which tiles a model runs on slides.

A net whose view of a pixel is bounded says the same in tiles of any size, up to what lies beyond the halo, so its tiles
are as large as memory allows and overlap little: a halo of 32 px agrees better with heavy overlap than small tiles do
(performance.md, section 1). Any other net keeps the tiles it was scored in.
"""

from dataclasses import dataclass

from intima.architectures import is_local
from intima.contracts.model import ModelCard
from intima.errors import Invalid

_HALO_PX = 32
_SIDES_PX = (1088, 832)
_MOST_ROW_BYTES = 2**30
_MOST_BYTES = 200 * 2**20
"""Of activations of one tile."""


@dataclass(frozen=True, slots=True)
class ServingTiles:
    """How a slide is cut."""

    tile_px: int
    halo_px: int
    even: bool
    """Whether tiles may be smaller where that saves pixels."""


def serving_tiles(card: ModelCard) -> ServingTiles:
    """Return the tiles of a model, the same on every machine. One that was not trained here keeps those of its card."""
    if card.imported or not is_local(card.architecture):
        return ServingTiles(card.tile_px, card.halo_px, even=False)
    larger = [side for side in _SIDES_PX if side > card.tile_px and _fits(card, side)]
    return ServingTiles(max(larger, default=card.tile_px), min(card.halo_px, _HALO_PX), even=True)


def require_narrow(width_px: int, card: ModelCard, *, passes: int) -> None:
    """Raise Invalid where what is held of a row of tiles would not fit into memory: it grows with the slide's width.

    Args:
        width_px: of the slide, in working pixels.
        card: of the model.
        passes: how many passes run.
    """
    tiles = serving_tiles(card)
    most = _MOST_ROW_BYTES // (4 * len(card.classes) * (tiles.tile_px + 2 * tiles.halo_px * passes))
    if width_px > most:
        raise Invalid(
            f"The slide is {width_px} pixels wide at the model's resolution; in {passes} passes at most {most} can be.",
            code="too_wide",
            hint="Ask for fewer passes, or cut the slide.",
            pointer="/uncertainty/passes",
        )


def _fits(card: ModelCard, side: int) -> bool:
    """Tell whether tiles of a side fit into memory; no if nobody counted what a tile takes."""
    if card.cost is None:
        return False
    return card.cost.peak_memory_bytes * (side / card.tile_px) ** 2 <= _MOST_BYTES
