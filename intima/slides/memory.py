"""An image that is already in memory, read like any slide."""

from dataclasses import dataclass

import numpy as np

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.geometry import Region


@dataclass(frozen=True, slots=True)
class ImageSlide:
    """A decoded image with what its file said about itself."""

    image: RgbImage
    info: SlideInfo

    def read(self, region: Region) -> RgbImage:
        """Return a region in level-0 pixels; white outside the image."""
        out = np.full((region.height, region.width, 3), 255, np.uint8)
        height, width = self.image.shape[:2]
        x0, y0 = max(0, region.x), max(0, region.y)
        x1, y1 = min(width, region.x + region.width), min(height, region.y + region.height)
        if x0 < x1 and y0 < y1:
            out[y0 - region.y : y1 - region.y, x0 - region.x : x1 - region.x] = self.image[y0:y1, x0:x1]
        return out

    def close(self) -> None:
        """Do nothing: memory is released with the object."""
