"""How the pixels of a slide, of the part that is analysed, and of the model's working image map to each other."""

from dataclasses import dataclass

from intima.contracts.model import ModelCard
from intima.contracts.segmentation import RegionSpec, SlideInfo
from intima.errors import Invalid
from intima.geometry import MicronsPerPixel, Region, Size
from intima.resampling import Resampling

MAX_ENLARGEMENT = 3.0
"""Slides coarser than the model's pixel size by more than this are refused."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A part of a slide, and the working image of the whole slide that it is analysed in.

    Working pixels and tiles are those of the whole slide whatever the part, so a part has the mask that the whole has
    there.
    """

    slide: Size
    """In level-0 pixels."""
    region: Region
    """Analysed part in level-0 pixels."""
    working_slide: Size
    """The whole slide in working pixels."""
    scale: float
    """Working pixels per level-0 pixel, before rounding to whole pixels."""
    mpp: MicronsPerPixel | None
    """Pixel size at level 0."""

    @property
    def native(self) -> Size:
        """Size of the analysed part in level-0 pixels."""
        return self.region.size

    @property
    def down(self) -> Resampling:
        """What each native row of the part takes of the slide's working rows."""
        part = slice(self.region.y, self.region.y + self.region.height)
        return Resampling.between(self.working_slide.height, self.slide.height, part=part)

    @property
    def across(self) -> Resampling:
        """What each native column of the part takes of the slide's working columns."""
        part = slice(self.region.x, self.region.x + self.region.width)
        return Resampling.between(self.working_slide.width, self.slide.width, part=part)

    @property
    def window(self) -> Region:
        """The working pixels of the slide that the part needs."""
        rows, columns = self.down.needed, self.across.needed
        return Region(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)

    @property
    def scale_x(self) -> float:
        """Working pixels per level-0 pixel along x."""
        return self.working_slide.width / self.slide.width

    @property
    def scale_y(self) -> float:
        """Working pixels per level-0 pixel along y."""
        return self.working_slide.height / self.slide.height

    @property
    def working_mpp(self) -> MicronsPerPixel | None:
        """Pixel size of the working image."""
        return None if self.mpp is None else MicronsPerPixel(self.mpp.x / self.scale_x, self.mpp.y / self.scale_y)


def plan_frame(info: SlideInfo, *, card: ModelCard, mpp: float | None, region: RegionSpec | None) -> Frame:
    """Decide region and working size.

    Raises:
        Invalid: the model works in µm and the slide has no pixel size or one far too coarse, or the region leaves
            the slide.
    """
    full = Size(info.width, info.height)
    area = Region(0, 0, full.width, full.height)
    if region is not None:
        area = Region(region.x, region.y, region.width, region.height)
    if not area.inside(full):
        raise Invalid(
            f"Got a region up to ({area.x + area.width}, {area.y + area.height}); "
            f"the slide is {full.width} x {full.height} px.",
            code="region_outside",
            hint="Give a region inside the slide, in level-0 pixels.",
            pointer="/region",
        )
    known = mpp if mpp is not None else info.mpp
    pixel = None if known is None else MicronsPerPixel(known, known)
    scale = working_scale(card, pixel)
    return Frame(slide=full, region=area, working_slide=full.scaled(scale), scale=scale, mpp=pixel)


def working_scale(card: ModelCard, mpp: MicronsPerPixel | None) -> float:
    """Return working pixels per level-0 pixel. Raises Invalid where the pixel size is missing or too coarse."""
    if card.mpp is None:
        return card.pixel_scale
    if mpp is None:
        raise Invalid(
            f"The slide states no pixel size, and model {card.name} works at {card.mpp:g} µm per pixel.",
            code="missing_pixel_size",
            hint="Give mpp, the side of one pixel in µm, when uploading the slide (form field mpp).",
            pointer="/mpp",
        )
    scale = mpp.mean / card.mpp
    if scale > MAX_ENLARGEMENT:
        raise Invalid(
            f"The slide has {mpp.mean:g} µm per pixel and model {card.name} works at {card.mpp:g}: it would have to be "
            f"enlarged {scale:.1f} times, and detail that was never scanned cannot be segmented.",
            code="too_coarse",
            hint=f"Check mpp, or scan finer than {MAX_ENLARGEMENT * card.mpp:g} µm per pixel.",
            pointer="/mpp",
        )
    return scale
