"""Look at stored cases as serving looks at slides, and keep what each says of uncertainty."""

from collections.abc import Iterator, Sequence

from intima.arrays import Predict
from intima.contracts.dataset import StoredCase
from intima.contracts.evidence import HeldOutCase
from intima.evidence import HeldOut, gather_case
from intima.labels import LabelSchema
from intima.store.storage import Storage
from intima.tiling import image_strips
from intima.training.data import Resolution, read_truth, read_working_image


def measure_cases(
    storage: Storage,
    cases: Sequence[StoredCase],
    *,
    predict: Predict,
    schema: LabelSchema,
    resolution: Resolution,
    tile_px: int,
    halo_px: int,
) -> Iterator[HeldOutCase]:
    """Yield what each case says.

    Args:
        storage: holds the images and masks.
        cases: none of which the net has been trained on.
        predict: runs all passes of a tile: (tiles, passes * classes, h, w).
        schema: the classes of masks and net.
        resolution: at which the net works.
        tile_px: side of a tile.
        halo_px: half of the smallest overlap between neighbours.

    Raises:
        Invalid: the net gives no numbers.
    """
    for case in cases:
        image = read_working_image(storage, case, resolution=resolution)
        strips = image_strips(image, predict, tile_px=tile_px, halo_px=halo_px)
        truth = read_truth(storage, case)
        yield gather_case(HeldOut(case.case, case.subject, mpp=case.mpp, truth=truth, schema=schema), strips)
