"""A slide over an image in memory."""

from intima.arrays import RgbImage
from intima.contracts.segmentation import SlideInfo
from intima.slides._source import WholeImage
from intima.slides.opening import Slide


def slide_from_image(image: RgbImage, info: SlideInfo) -> Slide:
    """Return a slide over a decoded image with what its file said about itself."""
    return Slide(WholeImage(info, lambda: image), name="")
