"""What a segmentation will cost, said before it runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from intima.contracts.model import ModelCard, Precision
from intima.contracts.segmentation import SegmentationCost, SegmentationResult, SegmentPayload, WorkTime
from intima.framing import Frame
from intima.serving_tiles import serving_tiles
from intima.tiling import TileGrid

_PUBLISHED_ON = "CPUExecutionProvider"
_LIKE = 8
"""An earlier run tells of one with up to so many times its work; start and artefacts of a small one weigh too much."""
_FEW = 3
"""Below so many earlier results their spread says nothing."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A segmentation by the same model in the same number format on the same provider."""

    seconds: float
    """From the opened slide to the written artefacts."""
    work_px: float
    """Pixels of the tiles that ran, times the runs of a network on each."""


def past_run(payload: SegmentPayload, result: SegmentationResult, *, members: int) -> PastRun | None:
    """Return what an earlier result says of the time work takes; null where it does not say enough."""
    said = result.provenance
    numbers = [said.get(name) for name in ("tiles", "tile_width", "tile_height")]
    if not result.timings_s or not all(isinstance(n, int) for n in numbers):
        return None
    runs = runs_per_pixel(payload.uncertainty.sampler, passes=payload.uncertainty.passes or members, members=members)
    work_px = float(math.prod(n for n in numbers if isinstance(n, int)) * runs)
    return PastRun(sum(result.timings_s.values()), work_px) if work_px else None


def tile_grid(frame: Frame, card: ModelCard) -> TileGrid:
    """Return the tiles of the whole slide that a part of it is analysed in."""
    cut = serving_tiles(card)
    return TileGrid(frame.working_slide, cut.tile_px, cut.halo_px, cut.even)


def runs_per_pixel(sampler: str, *, passes: int, members: int) -> int:
    """Return how often a network runs on each pixel. Draws of dropout share a run, which costs up to half more."""
    return members if sampler in {"mc_dropout", "none"} else passes


def segmentation_cost(
    frame: Frame, card: ModelCard, *, sampler: str, passes: int, precision: Precision, past: Sequence[PastRun]
) -> SegmentationCost:
    """Count what a segmentation runs at most, were all of it tissue, and say how long that takes.

    Args:
        frame: the part of the slide and its working image.
        card: of the model.
        sampler: the one really used.
        passes: how many passes it takes.
        precision: number format that runs.
        past: earlier runs alike; empty: the time comes from the latency on the card, where there is one.
    """
    window, grid = frame.window, tile_grid(frame, card)
    tiles = sum(tile.overlaps(window) for row in grid.rows() for tile in row)
    runs = runs_per_pixel(sampler, passes=passes, members=len(card.members))
    tile_px = tiles * grid.tile.pixels
    return SegmentationCost(
        working_width=window.width,
        working_height=window.height,
        sampler=sampler,
        passes=passes,
        tiles=tiles,
        tile_width=grid.tile.width,
        tile_height=grid.tile.height,
        network_runs=tiles * runs,
        flops=None if card.cost is None else round(card.cost.flops * runs * tile_px / card.tile_px**2),
        time=_time(card, precision=precision, work_px=tile_px * runs, past=past),
    )


def _time(card: ModelCard, *, precision: Precision, work_px: float, past: Sequence[PastRun]) -> WorkTime | None:
    alike = sorted(run.seconds / run.work_px for run in past if run.work_px * _LIKE >= work_px)
    if alike:
        spread = 1 if len(alike) >= _FEW else 2
        found = "the range of" if spread == 1 else "half to twice of"
        results = "1 earlier result" if len(alike) == 1 else f"{len(alike)} earlier results"
        return WorkTime(
            low_s=alike[0] * work_px / spread,
            high_s=alike[-1] * work_px * spread,
            basis=f"{found} {results} by this model here, scaled to this many tiles",
        )
    known = [one for one in card.latency if one.precision == precision and one.provider == _PUBLISHED_ON]
    if not known:
        return None
    seconds = known[0].median_ms / 1000 * work_px / card.tile_px**2
    return WorkTime(
        low_s=seconds / 2,
        high_s=seconds * 2,
        basis="half to twice what the networks took on one thread where the model was published",
    )
