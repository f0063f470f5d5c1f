"""Where each pixel of a phantom lies relative to the wall."""

import math
from dataclasses import dataclass, fields

import numpy as np

from intima.arrays import BinaryMask, FloatVector, LabelMask
from intima.labels import ARTERY, LUMEN, MEDIA, NEOINTIMA
from intima.phantom.outline import RAYS, Outline, arc_share, tilt
from intima.phantom.spec import PhantomSpec
from intima.phantom.texture import Field


@dataclass(frozen=True, slots=True)
class Rings:
    """Per point: (height, width) for the whole image, (points,) for a part. Lengths in µm."""

    x: Field
    """From the left edge of the image."""
    y: Field
    """From the top edge."""
    turn: Field
    """Position along the wall as a fraction of a full turn, 0..1."""
    in_lumen: Field
    """Depth within the border of the lumen along its normal; negative outside."""
    in_iel: Field
    in_eel: Field
    away: Field
    """Distance outwards from the external elastic lamina without its waves."""
    media_depth: Field
    """0 at the internal, 1 at the external elastic lamina."""
    media_um: Field
    """Thickness of the media at this angle."""
    intima_depth: Field
    """0 at the internal elastic lamina, 1 at the lumen."""
    along: Field
    """Direction of the wall in radians, x right, y down."""

    def where(self, mask: BinaryMask) -> "Rings":
        """Return the points of a mask."""
        return Rings(*(getattr(self, f.name)[mask] for f in fields(self)))


def locate(spec: PhantomSpec, outline: Outline) -> Rings:
    """Return where each pixel centre lies."""
    centre = (np.arange(spec.size_px) + 0.5) * spec.mpp
    x, y = np.meshgrid(centre.astype(np.float32), centre.astype(np.float32))
    dx, dy = x - np.float32(outline.pole_um[0]), y - np.float32(outline.pole_um[1])
    radius: Field = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx)
    ray = np.rint(angle * np.float32(RAYS / math.tau)).astype(np.int32) % RAYS

    def at(profile: FloatVector) -> Field:
        found: Field = profile.astype(np.float32)[ray]
        return found

    def depth(border: FloatVector) -> Field:
        found: Field = (at(border) - radius) * at(np.cos(tilt(border)))
        return found

    media = outline.eel - outline.iel
    tilts = tilt(outline.smooth_eel)
    neointima = np.maximum(outline.iel - outline.lumen, 0.5)
    return Rings(
        x=x,
        y=y,
        turn=at(arc_share(outline.smooth_eel)),
        in_lumen=depth(outline.lumen),
        in_iel=depth(outline.iel),
        in_eel=depth(outline.eel),
        away=-depth(outline.smooth_eel),
        media_depth=(radius - at(outline.iel)) * at(1 / media),
        media_um=at(media * np.cos(tilts)),
        intima_depth=(at(outline.iel) - radius) * at(1 / neointima),
        along=angle - at(tilts) + np.float32(math.pi / 2),
    )


def mask_of(rings: Rings) -> LabelMask:
    """Return the mask of the ARTERY schema: a pixel belongs to the layer in which its centre lies."""
    mask: LabelMask = np.zeros(rings.turn.shape, dtype=np.uint8)
    for inside, name in ((rings.in_eel, MEDIA), (rings.in_iel, NEOINTIMA), (rings.in_lumen, LUMEN)):
        mask[inside > 0] = ARTERY.index_of(name)
    return mask
