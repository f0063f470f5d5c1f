"""The phantom: a procedural EVG-stained artery cross-section with exact truth. Everything made from it is synthetic.

outline (borders as radius functions) -> rings (where each pixel lies) -> paint (optical density) -> camera (picture).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from intima.arrays import LabelMask, RgbImage
from intima.labels import ARTERY, LUMEN, MEDIA, NEOINTIMA
from intima.phantom.camera import photograph
from intima.phantom.outline import Outline, area_um2, draw_outline, perimeter_um
from intima.phantom.paint import paint
from intima.phantom.palette import stained
from intima.phantom.rings import locate, mask_of
from intima.phantom.spec import Anatomy, Degradation, NamedSpec, PhantomSpec, Shift, Stain, draw_specs

__all__ = [
    "Anatomy",
    "Degradation",
    "NamedSpec",
    "Phantom",
    "PhantomSpec",
    "PhantomTruth",
    "Shift",
    "Stain",
    "draw_specs",
    "phantom_cases",
    "render",
]


@dataclass(frozen=True, slots=True)
class PhantomTruth:
    """What is known of a phantom. µm values follow from the borders, px values count the mask."""

    lumen_px: int
    neointima_px: int
    media_px: int
    lumen_um2: float
    neointima_um2: float
    media_um2: float
    iel_um2: float
    """Lumen and neointima."""
    eel_um2: float
    """Lumen, neointima and media."""
    lumen_perimeter_um: float
    iel_perimeter_um: float
    eel_perimeter_um: float
    intima_media_ratio: float
    stenosis_percent: float


@dataclass(frozen=True, slots=True)
class Phantom:
    """A picture with its truth."""

    image: RgbImage
    mask: LabelMask
    """Of the ARTERY schema."""
    truth: PhantomTruth


def render(spec: PhantomSpec) -> Phantom:
    """Render a phantom; equal specs give equal bytes.

    Raises:
        Invalid: the anatomy does not fit into the image or into itself.
    """
    outline = draw_outline(spec)
    rings = locate(spec, outline)
    mask = mask_of(rings)
    image = photograph(spec, paint(spec, rings, stained(spec.stain)))
    return Phantom(image=image, mask=mask, truth=_truth(outline, mask))


def phantom_cases(specs: Iterable[NamedSpec]) -> Iterator[tuple[NamedSpec, Phantom]]:
    """Render a set of phantoms one after the other. A dataset made of them is named "synthetic"."""
    for named in specs:
        yield named, render(named.spec)


def _truth(outline: Outline, mask: LabelMask) -> PhantomTruth:
    lumen, iel, eel = area_um2(outline.lumen), area_um2(outline.iel), area_um2(outline.eel)
    pixels = np.bincount(mask.ravel(), minlength=len(ARTERY))
    return PhantomTruth(
        lumen_px=int(pixels[ARTERY.index_of(LUMEN)]),
        neointima_px=int(pixels[ARTERY.index_of(NEOINTIMA)]),
        media_px=int(pixels[ARTERY.index_of(MEDIA)]),
        lumen_um2=lumen,
        neointima_um2=iel - lumen,
        media_um2=eel - iel,
        iel_um2=iel,
        eel_um2=eel,
        lumen_perimeter_um=perimeter_um(outline.lumen),
        iel_perimeter_um=perimeter_um(outline.iel),
        eel_perimeter_um=perimeter_um(outline.eel),
        intima_media_ratio=(iel - lumen) / (eel - iel),
        stenosis_percent=100 * (iel - lumen) / iel,
    )
