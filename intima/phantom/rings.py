"""Where each pixel of a phantom lies relative to the wall."""

import math
from dataclasses import dataclass

import numpy as np

from intima.arrays import FloatVector, LabelMask
from intima.labels import ARTERY, LUMEN, MEDIA, NEOINTIMA
from intima.phantom.outline import RAYS, Outline, obliquity
from intima.phantom.spec import PhantomSpec
from intima.phantom.texture import Field


@dataclass(frozen=True, slots=True)
class Rings:
    """Per pixel (height, width); distances in µm along the wall's normal, positive inside the border."""

    radius: Field
    """Distance to the centre of the vessel, µm."""
    turn: Field
    """Angle as a fraction of a full turn, 0..1."""
    in_lumen: Field
    in_iel: Field
    in_eel: Field
    depth: Field
    """0 at the internal, 1 at the external elastic lamina."""
    media_um: Field
    """Thickness of the media at this angle."""


def locate(spec: PhantomSpec, outline: Outline) -> Rings:
    """Return where each pixel centre lies."""
    centre = np.arange(spec.size_px, dtype=np.float32) + np.float32(0.5)
    dx = (centre * spec.mpp - spec.anatomy.center[0] * spec.field_um).astype(np.float32)[None, :]
    dy = (centre * spec.mpp - spec.anatomy.center[1] * spec.field_um).astype(np.float32)[:, None]
    radius: Field = np.hypot(dx, dy)
    turn: Field = np.arctan2(dy, dx) / np.float32(math.tau) % np.float32(1.0)
    ray = np.rint(turn * RAYS).astype(np.intp) % RAYS

    def look_up(profile: FloatVector) -> Field:
        return profile.astype(np.float32)[ray]

    media = outline.eel - outline.iel
    middle = 0.5 * (obliquity(outline.iel) + obliquity(outline.eel))
    return Rings(
        radius=radius,
        turn=turn,
        in_lumen=(look_up(outline.lumen) - radius) * look_up(obliquity(outline.lumen)),
        in_iel=(look_up(outline.iel) - radius) * look_up(obliquity(outline.iel)),
        in_eel=(look_up(outline.eel) - radius) * look_up(obliquity(outline.eel)),
        depth=(radius - look_up(outline.iel)) / look_up(media),
        media_um=look_up(media * middle),
    )


def mask_of(rings: Rings) -> LabelMask:
    """Return the mask of the ARTERY schema: a pixel belongs to the layer in which its centre lies."""
    mask: LabelMask = np.zeros(rings.radius.shape, dtype=np.uint8)
    for inside, name in ((rings.in_eel, MEDIA), (rings.in_iel, NEOINTIMA), (rings.in_lumen, LUMEN)):
        mask[inside > 0] = ARTERY.index_of(name)
    return mask
