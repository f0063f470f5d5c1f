"""Morphometry of arterial cross-sections: areas from pixel counts, lengths from sub-pixel contours.

Terms. IEL area = lumen + neointima; EEL area = IEL area + media; I/M = neointima / media; stenosis =
100 neointima / IEL area. A perimeter is the length of the 0.5 contour of the layer's largest piece, holes
filled, after Gaussian smoothing by one pixel (which brings the staircase of pixels to the true length). A
circularised area is P²/(4 pi), the area that the same perimeter would enclose as a circle: a collapsed lumen
keeps it. Thickness runs along 360 rays from the centre of the lumen, equally spaced in µm space. Ring
thickness = ring area / mean of inner and outer perimeter. Eccentricity = (max - min) / max of a thickness.

Layer order. Media must close around the rest. Where lumen or neointima touches the background or the image
edge (by more than 1 % of the outline, and 3 pixels), the laminae are not known there, and everything that
needs them has no value. Neointima may be absent over an arc, so lumen may touch media.

Paraffin shrinks tissue (ring areas by 19 to 25 %); nothing here corrects for it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from intima.arrays import BinaryMask, FloatVector, LabelMask
from intima.contracts.segmentation import ClassArea, Measure, VesselMeasures
from intima.geometry import MicronsPerPixel
from intima.labels import LUMEN, MEDIA, NEOINTIMA, LabelSchema
from intima.rasters import LabelRaster, read_blocks
from intima.vessels import PAD_PX, Vessel, checked_mask, find_vessels, require_known

MIN_AREA_PX = 256
"""Default size below which a piece is a speck and not a vessel."""

_RAYS = 360
_STEP = 0.25
_OPEN_SHARE, _OPEN_PX = 0.01, 3
_SPECK_SHARE = 0.01

_LAMINAR = {"iel_area", "eel_area", "intima_media_ratio", "stenosis", "iel_perimeter", "eel_perimeter"}
_LAMINAR |= {"iel_area_circularised", "intima_ring_thickness", "media_ring_thickness"}
_LAMINAR |= {f"{layer}_thickness_{kind}" for layer in ("intima", "media") for kind in ("mean", "min", "max")}
_LAMINAR |= {"intima_eccentricity", "media_eccentricity"}
_OUTER = {n for n in _LAMINAR if n.startswith(("eel", "media"))} | {"medial_area", "intima_media_ratio"}


@dataclass(frozen=True, slots=True)
class ThicknessProfile:
    """Thickness of one vessel's layers along 360 rays; µm, or pixels without a pixel size."""

    angles_rad: FloatVector
    """Direction of each ray, x right, y down."""
    intima: FloatVector
    media: FloatVector
    center_px: tuple[float, float]
    """Where the rays start, x and y in pixels of the mask (0.5 is the centre of the first pixel)."""
    unit: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """Side of a pixel, and the names of what it makes."""

    x: float
    y: float
    length: str
    area: str

    def reduced(self, step: int) -> "_Scale":
        """Return the same of pixels ``step`` times as large."""
        return _Scale(self.x * step, self.y * step, self.length, self.area)


def measure_vessels(
    mask: LabelMask | LabelRaster,
    *,
    schema: LabelSchema,
    mpp: MicronsPerPixel | None,
    min_area_px: int = MIN_AREA_PX,
) -> tuple[VesselMeasures, ...]:
    """Measure every vessel of a mask, largest first.

    Without ``mpp`` areas and lengths are in pixels. A schema without the arterial layers has no vessels. A
    measure that is undefined is None and a warning of its vessel says why.

    Raises:
        Invalid: the mask is not (height, width) or holds a value the schema does not know.
    """
    found = find_vessels(mask, schema=schema, min_area_px=min_area_px)
    measured = sorted(((_rank(vessel), _measured(vessel, _scale(mpp))) for vessel in found), key=lambda pair: pair[0])
    return tuple(m.model_copy(update={"vessel": number}) for number, (_, m) in enumerate(measured, start=1))


def thickness_profiles(
    mask: LabelMask | LabelRaster,
    *,
    schema: LabelSchema,
    mpp: MicronsPerPixel | None,
    min_area_px: int = MIN_AREA_PX,
) -> tuple[ThicknessProfile, ...]:
    """Return the thickness of intima and media along 360 rays, for the vessels of ``measure_vessels``.

    Raises:
        Invalid: the mask is not (height, width) or holds a value the schema does not know.
    """
    found = find_vessels(mask, schema=schema, min_area_px=min_area_px)
    profiles = [(_rank(vessel), _profile(vessel, _scale(mpp).reduced(vessel.reduction))) for vessel in found]
    return tuple(profile for _, profile in sorted(profiles, key=lambda pair: pair[0]))


def _rank(vessel: Vessel) -> tuple[int, int, int]:
    """Return what vessels are sorted by: the largest first."""
    return -int(vessel.eel.sum()) * vessel.reduction**2, vessel.bounds.y, vessel.bounds.x


def class_areas(
    mask: LabelMask | LabelRaster, *, schema: LabelSchema, mpp: MicronsPerPixel | None
) -> tuple[ClassArea, ...]:
    """Return the area of every class over the whole mask, in index order.

    Raises:
        Invalid: the mask is not (height, width) or holds a value the schema does not know.
    """
    counts = np.sum([np.bincount(rows.ravel(), minlength=256) for _, rows in read_blocks(checked_mask(mask))], axis=0)
    require_known(int(np.flatnonzero(counts).max()), schema)
    pixels, size = counts.tolist(), int(counts.sum())
    return tuple(
        ClassArea(
            name=c.name,
            pixels=pixels[c.index],
            area_um2=None if mpp is None else pixels[c.index] * mpp.area_um2,
            fraction=pixels[c.index] / size,
        )
        for c in schema.classes
    )


def _scale(mpp: MicronsPerPixel | None) -> _Scale:
    return _Scale(1.0, 1.0, "px", "px^2") if mpp is None else _Scale(mpp.x, mpp.y, "µm", "µm²")


def _measured(vessel: Vessel, scale: _Scale) -> VesselMeasures:
    """Return the measures of a vessel as if it were the only one."""
    scale = scale.reduced(vessel.reduction)
    void, warnings = _order(vessel)
    if vessel.reduction > 1:
        warnings.append(f"A large vessel: measured on one in {vessel.reduction} rows and columns of the mask.")
    values: dict[str, tuple[float | None, str]] = {
        **_areas(vessel, scale),
        **_perimeters(vessel, scale),
        **_thickness(_profile(vessel, scale)),
    }
    values |= _ring_thickness(values, scale)
    values = {name: (None if name in void else value, unit) for name, (value, unit) in values.items()}
    undefined = [name for name, (value, _) in values.items() if value is None and name not in void]
    if undefined:
        warnings.append(f"No value, because a layer it needs is absent or too small: {', '.join(undefined)}.")
    return VesselMeasures(
        vessel=1,
        bounds=vessel.bounds,
        measures=tuple(Measure(name=n, value=v, unit=u) for n, (v, u) in values.items()),
        warnings=tuple(warnings),
    )


def _areas(vessel: Vessel, scale: _Scale) -> dict[str, tuple[float | None, str]]:
    pixel = scale.x * scale.y
    lumen, neointima, media = (int(m.sum()) for m in (vessel.lumen, vessel.neointima, vessel.media))
    iel = lumen + neointima
    return {
        "lumen_area": (lumen * pixel, scale.area),
        "neointimal_area": (neointima * pixel, scale.area),
        "medial_area": (media * pixel, scale.area),
        "iel_area": (iel * pixel, scale.area),
        "eel_area": ((iel + media) * pixel, scale.area),
        "intima_media_ratio": (neointima / media if media else None, ""),
        "stenosis": (100.0 * neointima / iel if iel else None, "%"),
    }


def _perimeters(vessel: Vessel, scale: _Scale) -> dict[str, tuple[float | None, str]]:
    lumen, iel, eel = (_perimeter(m, scale) for m in (vessel.lumen, vessel.iel, vessel.eel))
    return {
        "lumen_perimeter": (lumen, scale.length),
        "iel_perimeter": (iel, scale.length),
        "eel_perimeter": (eel, scale.length),
        "lumen_area_circularised": (None if lumen is None else lumen**2 / (4 * math.pi), scale.area),
        "iel_area_circularised": (None if iel is None else iel**2 / (4 * math.pi), scale.area),
    }


def _perimeter(region: BinaryMask, scale: _Scale) -> float | None:
    """Return the length of the outline of the largest piece, holes filled; None where nothing is left of it."""
    filled = ndimage.binary_fill_holes(_largest(region)).astype(np.float32)
    smooth = ndimage.gaussian_filter(filled, 1.0, truncate=3.0)
    contours = measure.find_contours(smooth, 0.5)  # type: ignore[no-untyped-call]
    lengths = [_length(contour, scale) for contour in contours]
    return max(lengths, default=None)


def _length(contour: NDArray[np.float64], scale: _Scale) -> float:
    steps = np.diff(contour, axis=0) * (scale.y, scale.x)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def _largest(region: BinaryMask) -> BinaryMask:
    labels, count = ndimage.label(region)
    if count < 2:
        return region
    result: BinaryMask = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return result


def _profile(vessel: Vessel, scale: _Scale) -> ThicknessProfile:
    row, column = _center(vessel)
    angles: FloatVector = np.linspace(0.0, math.tau, _RAYS, endpoint=False, dtype=np.float64)
    step = _STEP * min(scale.x, scale.y)
    steps = (np.arange(math.ceil(math.hypot(*_extent(vessel, scale)) / step)) + 0.5) * step
    rows = row + np.sin(angles)[:, None] * steps / scale.y
    columns = column + np.cos(angles)[:, None] * steps / scale.x
    intima, media = (
        ndimage.map_coordinates(layer.astype(np.float32), [rows, columns], order=1).sum(axis=1) * step
        for layer in (vessel.neointima, vessel.media)
    )
    return ThicknessProfile(
        angles_rad=angles,
        intima=intima.astype(np.float64),
        media=media.astype(np.float64),
        center_px=(
            vessel.bounds.x + (column - PAD_PX + 0.5) * vessel.reduction,
            vessel.bounds.y + (row - PAD_PX + 0.5) * vessel.reduction,
        ),
        unit=scale.length,
    )


def _extent(vessel: Vessel, scale: _Scale) -> tuple[float, float]:
    height, width = vessel.lumen.shape
    return (height - 2 * PAD_PX) * scale.y, (width - 2 * PAD_PX) * scale.x


def _center(vessel: Vessel) -> tuple[float, float]:
    """Return row and column of the lumen's centroid, or of its deepest pixel where the centroid lies outside."""
    region = _largest(vessel.lumen) if vessel.lumen.any() else vessel.eel
    row, column = ndimage.center_of_mass(region)
    if region[round(row), round(column)]:
        return float(row), float(column)
    depth = ndimage.distance_transform_edt(region)
    deepest = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return float(deepest[0]), float(deepest[1])


def _thickness(profile: ThicknessProfile) -> dict[str, tuple[float | None, str]]:
    values: dict[str, tuple[float | None, str]] = {}
    for layer, along in (("intima", profile.intima), ("media", profile.media)):
        low, high = float(along.min()), float(along.max())
        values[f"{layer}_thickness_mean"] = (float(along.mean()), profile.unit)
        values[f"{layer}_thickness_min"] = (low, profile.unit)
        values[f"{layer}_thickness_max"] = (high, profile.unit)
        values[f"{layer}_eccentricity"] = ((high - low) / high if high > 0 else None, "")
    return values


def _ring_thickness(values: dict[str, tuple[float | None, str]], scale: _Scale) -> dict[str, tuple[float | None, str]]:
    def ring(area: str, inner: str, outer: str) -> float | None:
        numbers = [values[name][0] for name in (area, inner, outer)]
        present = [n for n in numbers if n is not None]
        return 2 * present[0] / (present[1] + present[2]) if len(present) == 3 else None

    return {
        "intima_ring_thickness": (ring("neointimal_area", "lumen_perimeter", "iel_perimeter"), scale.length),
        "media_ring_thickness": (ring("medial_area", "iel_perimeter", "eel_perimeter"), scale.length),
    }


def _order(vessel: Vessel) -> tuple[set[str], list[str]]:
    """Return the measures that the order of the layers makes void, and the warnings."""
    void: set[str] = set()
    warnings: list[str] = []
    filled = ndimage.binary_fill_holes(vessel.eel)
    outside = ndimage.binary_dilation(~filled | vessel.at_edge)
    outline = int(np.count_nonzero(vessel.eel & outside))
    allowed = max(_OPEN_PX, _OPEN_SHARE * outline)
    for name, layer in ((LUMEN, vessel.lumen), (NEOINTIMA, vessel.neointima)):
        touching = int(np.count_nonzero(layer & outside))
        if touching > allowed:
            void |= _LAMINAR
            warnings.append(
                f"The media is open: {name} touches background or the image edge over {touching} px, so the "
                "internal and external elastic laminae are not known there."
            )
    if np.count_nonzero(vessel.media & vessel.at_edge) > _OPEN_PX:
        void |= _OUTER
        warnings.append("The vessel runs over the image edge; what needs the whole media has no value.")
    warnings += _composition(vessel, int(np.count_nonzero(filled & ~vessel.eel)))
    return void, warnings


def _composition(vessel: Vessel, holes: int) -> list[str]:
    """Return warnings about what the vessel is made of."""
    warnings = []
    area = int(np.count_nonzero(vessel.eel))
    for name, layer in ((LUMEN, vessel.lumen), (NEOINTIMA, vessel.neointima), (MEDIA, vessel.media)):
        if not layer.any():
            warnings.append(f"The vessel has no {name}.")
    if holes > _SPECK_SHARE * area:
        warnings.append(f"{holes} px of background lie inside the vessel and are counted to no layer.")
    labels, _ = ndimage.label(vessel.lumen)
    sizes = np.bincount(labels.ravel())[1:]
    pieces = int(np.count_nonzero(sizes > _SPECK_SHARE * max(1, sizes.sum())))
    if pieces > 1:
        warnings.append(f"The lumen is in {pieces} pieces; its perimeter and the rays belong to the largest.")
    return warnings
