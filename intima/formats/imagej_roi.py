"""Regions of interest for ImageJ and Fiji: a zip with one ROI per connected component and class.

Frame: pixels of the mask, that is of the analysed region, origin its top left corner; open them over mask.png or
mask.ome.tiff. Every ROI says in its properties where that corner lies in the slide. Outlines follow pixel edges, so the
area that ImageJ measures is the pixel count. A component without holes is a traced selection, as the wand makes it; one
with holes, and what an integer selection cannot hold, is a composite one.
"""

import re
import zipfile
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_TYPE, ImagejRoi

from intima.contracts.segmentation import SegmentationResult
from intima.formats._result import ResultArrays
from intima.formats._rings import Component
from intima.labels import TissueClass

MOST_ROIS = 10_000
"""The ROI manager of ImageJ becomes unusable with some ten thousand."""
_MOST_CORNERS = 2**16 - 1
_FARTHEST = 60_535
"""Largest coordinate of an integer selection: ImageJ reads larger ones as negative."""
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
"""Commands of a composite selection's path, as java.awt.geom.PathIterator numbers them."""


def write_rois(arrays: ResultArrays, _result: SegmentationResult, out: BinaryIO) -> tuple[str, ...]:
    """Write the largest components, by class, and return a warning about those left out.

    Raises:
        NotWritten: the outlines are too many to hold.
    """
    found = arrays.outlines
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        for number, component in enumerate(found.largest(MOST_ROIS), start=1):
            roi = _roi(component, number, arrays.schema.classes[component.class_index], arrays.origin)
            bundle.writestr(_entry(roi.name), roi.tobytes())
    sizes = np.sort(found.pieces.pixels)[: max(0, len(found.pieces) - MOST_ROIS)]
    return (_left_out(sizes),) if len(sizes) else ()


def _left_out(sizes: NDArray[np.int64]) -> str:
    return (
        f"rois.zip holds the {MOST_ROIS} largest pieces, since ImageJ hardly opens more; the {len(sizes)} smallest, of "
        f"at most {sizes[-1]} px and {sizes.sum()} px together, are left out."
    )


def _entry(name: str) -> zipfile.ZipInfo:
    """Return an entry of a fixed time; ImageJ shows its name."""
    entry = zipfile.ZipInfo(f"{name}.roi")
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    return entry


def _roi(component: Component, number: int, tissue: TissueClass, origin: tuple[int, int]) -> ImagejRoi:
    """Return a selection; its number makes its name unique."""
    roi = _traced(component.shell) if _is_simple(component) else _composite(component)
    left, top = component.shell.min(axis=0).tolist()
    right, bottom = component.shell.max(axis=0).tolist()
    roi.left, roi.top, roi.right, roi.bottom = left, top, right, bottom
    roi.name = f"{_plain(tissue.name)}-{number:05d}"
    roi.stroke_color = bytes((255, *tissue.rgb))
    roi.properties = {
        "class": _one_line(tissue.name),
        "pixels": component.pixels,
        "region_x": origin[0],
        "region_y": origin[1],
    }
    return roi


def _is_simple(component: Component) -> bool:
    shell = component.shell
    return not component.holes and len(shell) <= _MOST_CORNERS and int(shell.max()) <= _FARTHEST


def _traced(shell: NDArray[np.int64]) -> ImagejRoi:
    corners = (shell - shell.min(axis=0)).astype(np.int32)
    return ImagejRoi(roitype=ROI_TYPE.TRACED, n_coordinates=len(corners), integer_coordinates=corners)


def _composite(component: Component) -> ImagejRoi:
    """Return all rings as one path that is filled by the even-odd rule."""
    path = np.concatenate([_path(ring) for ring in (component.shell, *component.holes)])
    return ImagejRoi(roitype=ROI_TYPE.RECT, shape_roi_size=len(path), multi_coordinates=path)


def _path(ring: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (command, x, y) for each corner, and the command that closes the ring."""
    steps = np.full((len(ring), 3), _LINE, np.float32)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring
    return np.append(steps.ravel(), np.float32(_CLOSE))


def _plain(name: str) -> str:
    """Return a name that is no path and no trouble for any file system."""
    return re.sub(r"[^\w .-]+", "_", name)[:60].strip(" .") or "class"


def _one_line(name: str) -> str:
    return "".join(c if c.isprintable() else " " for c in name)
