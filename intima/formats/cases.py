"""Pictures of dataset cases for a page: images as JPEG, masks in the colours of their classes."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from intima.arrays import LabelMask
from intima.geometry import Size
from intima.labels import TissueClass

_OPAQUE, _CLEAR = 255, 0


def fit_within(size: Size, *, px: int) -> Size:
    """Return a size shrunk so that its longer side has at most ``px`` pixels; one that is smaller stays."""
    scale = min(1.0, px / max(size.width, size.height))
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def mask_picture(mask: LabelMask, classes: Sequence[TissueClass], *, px: int) -> bytes:
    """Return an (h, w) mask as palette PNG within ``px``: each class in its colour, background transparent.

    The pixel nearest to the centre of each shown one is taken, so that no colour is of no class.
    """
    shown = fit_within(Size(mask.shape[1], mask.shape[0]), px=px)
    rows = _centres(shown.height, mask.shape[0])
    columns = _centres(shown.width, mask.shape[1])
    picture = Image.fromarray(np.ascontiguousarray(mask[np.ix_(rows, columns)]), "P")
    picture.putpalette([channel for c in classes for channel in c.rgb])
    opacity = bytes([_CLEAR] + [_OPAQUE] * (len(classes) - 1))
    out = io.BytesIO()
    picture.save(out, "PNG", transparency=opacity)
    return out.getvalue()


def _centres(count: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return which of ``length`` pixels lie at the centres of ``count`` equal parts."""
    return np.asarray(((np.arange(count) + 0.5) * length / count).astype(np.intp))
