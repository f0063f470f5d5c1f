"""Slides made from what is already open: an image in memory, a part of another slide."""

from dataclasses import dataclass

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.geometry import Region, Size
from intima.slides._source import WholeImage
from intima.slides.opening import Slide


def slide_from_image(image: RgbImage, info: SlideInfo) -> Slide:
    """Return a slide over a decoded image with what its file said about itself."""
    return Slide(WholeImage(info, lambda: image), name="")


def crop_slide(slide: Slide, region: Region) -> Slide:
    """Return a slide that shows one region only, in a frame whose origin is the region's corner.

    Closing it leaves the original open.
    """
    return Slide(_Crop(slide, region), name="")


@dataclass(frozen=True, slots=True)
class _Crop:
    """The level-0 pixels of a region of another slide."""

    slide: Slide
    region: Region

    @property
    def info(self) -> SlideInfo:
        size = {"width": self.region.width, "height": self.region.height, "levels": 1}
        return self.slide.info.model_copy(update=size)

    @property
    def levels(self) -> tuple[Size, ...]:
        return (self.region.size,)

    def read_level(self, level: int, region: Region) -> RgbImage:
        moved = Region(region.x + self.region.x, region.y + self.region.y, region.width, region.height)
        return self.slide.read_level(level, moved)

    def close(self) -> None:
        """Leave the original open: who opened it closes it."""
