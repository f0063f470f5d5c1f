"""Use case: raw tiles + model -> logits, probabilities, mask, by the nets and the mean that serve slides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from intima.arrays import LogitBatch, Predict, TileBatch
from intima.contracts.model import ModelCard
from intima.errors import Conflict, Invalid, Unavailable
from intima.inference import LoadedModel
from intima.shared_runs import SharedRuns, always
from intima.temperature import log_probabilities
from intima.tiling import SIDE_MULTIPLE
from intima.uncertainty import mean_probabilities

TILES_AT_ONCE = 4
"""Tiles of the card's size whose pixels one run of a network takes at most."""


@dataclass(frozen=True, slots=True)
class TileAnswer:
    """What a model says of tiles."""

    member_logits: NDArray[np.float32]
    """(tiles, members, classes, h, w): of each network, as ONNX Runtime gives them."""
    logits: LogitBatch
    """(tiles, classes, h, w): of the only network; of an ensemble the logarithm of the probabilities."""
    probabilities: NDArray[np.float32]
    """(tiles, classes, h, w): mean of the members' probabilities."""
    mask: NDArray[np.uint8]
    """(tiles, h, w): the class a slide would get here, were it this tile."""


def largest_tile_px(card: ModelCard) -> int:
    """Return the most pixels of one tile, which is also what one run of a network is given at most."""
    return TILES_AT_ONCE * card.tile_px**2


def require_tile_shape(shape: tuple[int, ...], *, card: ModelCard, most_work_px: int) -> None:
    """Raise Invalid unless the shape is (tiles, 3, h, w) with sides a network takes, and within the work of a request.

    Args:
        shape: as stated, before any memory is taken for it.
        card: of the model.
        most_work_px: pixels times members that one request may cost.
    """
    if len(shape) != 4 or shape[1] != 3 or min(shape) < 1:
        raise _bad_shape(f"Got tiles of shape {list(shape)}; need [tiles, 3, height, width].")
    tiles, _, height, width = shape
    if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
        raise _bad_shape(f"Got tiles of {height} x {width} px; need sides that are multiples of {SIDE_MULTIPLE}.")
    if height * width > largest_tile_px(card):
        raise _bad_shape(
            f"Got tiles of {height} x {width} px; model {card.name} takes at most {largest_tile_px(card)} pixels each."
        )
    work_px = tiles * height * width * len(card.members)
    if work_px > most_work_px:
        raise Invalid(
            f"Got {tiles} tiles of {height} x {width} px for {len(card.members)} member(s), {work_px} pixels to work "
            f"on; a request may ask for {most_work_px}.",
            code="too_much_work",
            hint="Send fewer tiles at a time.",
            pointer="/inputs/0/shape",
        )


def _bad_shape(message: str) -> Invalid:
    return Invalid(message, code="bad_shape", pointer="/inputs/0/shape")


def require_rgb(tiles: TileBatch) -> None:
    """Raise Invalid unless every value is a number in 0..1, the range the networks were trained on."""
    low, high = float(tiles.min()), float(tiles.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Invalid("Got NaN or infinity in the tiles; need finite numbers.", code="not_finite", pointer="/inputs/0")
    if low < 0 or high > 1:
        raise Invalid(
            f"Got values from {low:g} to {high:g} in the tiles; need 0..1.",
            code="out_of_range",
            hint="Divide 8-bit RGB by 255; the networks normalise by themselves.",
            pointer="/inputs/0",
        )


def infer_tiles(
    model: LoadedModel, tiles: TileBatch, *, shared: Sequence[SharedRuns] = (), stays: Callable[[], bool] = always
) -> TileAnswer:
    """Run all members over tiles that ``require_tile_shape`` and ``require_rgb`` let through.

    Args:
        model: what runs.
        tiles: (tiles, 3, h, w) in 0..1.
        shared: of each member, where other requests' tiles may travel along; empty: they run by themselves.
        stays: whether somebody still waits for the answer.

    Raises:
        Conflict: a network answers these tiles with something that is no number.
        Unavailable: nobody waits any more; what has not run does not.
    """
    runs: list[Predict] = [net.predict for net in model.nets]
    if shared:
        runs = [partial(one.predict, stays=stays) for one in shared]
    step = len(tiles) if shared else max(1, largest_tile_px(model.card) // (tiles.shape[2] * tiles.shape[3]))
    parts = []
    for start in range(0, len(tiles), step):
        if not stays():
            raise Unavailable("The caller left.", code="caller_left")
        parts.append(_infer(model, tiles[start : start + step], runs))
    return TileAnswer(
        member_logits=np.concatenate([p.member_logits for p in parts]),
        logits=np.concatenate([p.logits for p in parts]),
        probabilities=np.concatenate([p.probabilities for p in parts]),
        mask=np.concatenate([p.mask for p in parts]),
    )


def _infer(model: LoadedModel, tiles: TileBatch, runs: Sequence[Predict]) -> TileAnswer:
    members = np.stack([run(tiles) for run in runs], axis=1)
    if not np.isfinite(members).all():
        raise Conflict(
            f"Model {model.version.ref} gives no number on these tiles.",
            code="model_not_finite",
            hint="Choose another model, or another precision of this one.",
        )
    probabilities = np.stack([mean_probabilities(of_tile) for of_tile in members])
    scores = log_probabilities(probabilities)
    return TileAnswer(
        member_logits=members,
        logits=members[:, 0] if len(model.nets) == 1 else scores,
        probabilities=probabilities,
        mask=scores.argmax(1).astype(np.uint8),
    )
