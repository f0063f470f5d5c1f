"""Find pictures that show the same tissue: copies that were changed a little, and overlapping fields of view.

Two copies are found by a hash of low frequencies (DCT) in each of the eight orientations, overlaps by correlating small
grey pictures at every shift and orientation; both count only where the normalised correlation of fine detail confirms
them. Not found: the same section rotated by other angles than quarter turns, overlaps at another magnification, and
overlaps of less than ``LEAST_SHARE`` or of almost blank glass.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, minimum_filter

from intima.arrays import BinaryMask, Json, RgbImage
from intima.errors import Invalid

THUMBNAIL_PX = 128
COARSE_PX = 48
PAD_PX = 2 * COARSE_PX
"""Side of the transforms: two coarse pictures side by side, so that no shift wraps round."""
HASH_PX = 32
HASH_BITS = 64
MOST_HASH_BITS = 14
"""Bits in which the hashes of two copies may differ."""
LEAST_SHARE = 0.15
"""Smallest overlap that is looked for, as part of the smaller picture."""
UNSPECIFIC = 0.85
"""Part of the best evidence that another orientation may reach: what fits in several, like circles, proves nothing."""
LEAST_TEXTURE = 0.06
"""Smallest textured area in an overlap, as part of the smaller picture: glass on glass proves nothing, and neither do
the edges of flat drawings."""
COARSE_SCORE = 0.45
"""Correlation in the coarse pictures from which a pair is looked at more closely."""
SCORE = 0.6
"""Correlation of detail that confirms a pair. Unrelated tissue reaches .47, JPEG at quality 60 keeps .9."""
COPY_SCORE = 0.8
"""The same for copies, which are compared whole and coarsely, where arteries look more alike (synthetic ones: .66)."""
MOST_ALIKE = 100_000
"""Pairs with like hashes that are looked at closely, about a minute's work; tissue of different subjects has few."""
WHOLE = 0.9
"""Overlaps of at least this part of both pictures are copies."""

_LEAST_TEXTURED = LEAST_TEXTURE * (2 * HASH_PX) ** 2
"""The same in pixels of the square that copies are compared in."""
_REACH = 2
"""Fine pixels around the coarse shift."""
_NOISE_LEVELS = 4.0
"""Grey levels of structure that count as noise."""
_ALL_SIDES_PX = 11
_FLOOR = 0.1
_SHIFTS = np.fft.fftfreq(PAD_PX, 1 / PAD_PX).astype(np.intp)

Grey = NDArray[np.float32]
Pixel = TypeVar("Pixel", bound=np.generic)
Kind = Literal["near_duplicate", "overlap"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A small grey picture of an image."""

    width: int
    """Pixels of the image itself."""
    height: int
    grey: NDArray[np.uint8]
    """(h, w), long side at most ``THUMBNAIL_PX``; one scale in both directions, from the top left corner."""

    @property
    def scale(self) -> float:
        """Pixels of ``grey`` per pixel of the image."""
        return min(1.0, THUMBNAIL_PX / max(self.width, self.height))


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two pictures that show the same."""

    a: int
    """Position in the list."""
    b: int
    kind: Kind
    score: float
    """Normalised correlation of detail in the overlap, at most 1."""
    share: float
    """Overlap as part of the smaller picture."""
    view: int
    """Orientation of b: quarter turns counter-clockwise, plus 4 where it was mirrored first."""
    offset_px: tuple[float, float]
    """x and y of b's corner, so turned, in pixels of image a."""


def take_fingerprint(image: RgbImage) -> Fingerprint:
    """Return the fingerprint of an image."""
    height, width = image.shape[:2]
    blank = Fingerprint(width, height, np.zeros((1, 1), np.uint8))
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return Fingerprint(width, height, np.rint(_shrink(grey, blank.scale)).astype(np.uint8))


def fingerprint_to_json(fingerprint: Fingerprint) -> Json:
    """Return a fingerprint as JSON."""
    grey = fingerprint.grey
    text = b64encode(grey.tobytes()).decode("ascii")
    return {"width": fingerprint.width, "height": fingerprint.height, "rows": len(grey), "grey": text}


def fingerprint_from_json(value: Json) -> Fingerprint:
    """Return a fingerprint from JSON. Raises ValueError where the pixels do not fill the rows."""
    grey = np.frombuffer(b64decode(value["grey"]), np.uint8).reshape(int(value["rows"]), -1)
    return Fingerprint(int(value["width"]), int(value["height"]), grey)


def pack_fingerprints(fingerprints: Sequence[Fingerprint]) -> bytes:
    """Return fingerprints as one artefact."""
    return json.dumps([fingerprint_to_json(f) for f in fingerprints]).encode()


def unpack_fingerprints(data: bytes) -> list[Fingerprint]:
    """Return what ``pack_fingerprints`` packed."""
    return [fingerprint_from_json(value) for value in json.loads(data)]


def find_copies(fingerprints: Sequence[Fingerprint], pairs: Sequence[tuple[int, int]]) -> list[Likeness]:
    """Return the pairs that show the same picture, at any size, turned by quarter turns or mirrored."""
    return _copies(fingerprints, ((a, np.array([b])) for a, b in pairs))


def find_copies_between(fingerprints: Sequence[Fingerprint], groups: Sequence[str]) -> list[Likeness]:
    """Return the copies among all pairs of different groups; 10,000 unlike pictures take 20 s.

    Args:
        fingerprints: of the pictures.
        groups: the group of each.

    Raises:
        Invalid: more than ``MOST_ALIKE`` pairs are coarsely alike.
    """
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(g, len(numbers)) for g in groups], np.intp)
    rows = ((a, a + 1 + np.flatnonzero(group[a + 1 :] != group[a])) for a in range(len(group)))
    return _copies(fingerprints, rows)


def _copies(fingerprints: Sequence[Fingerprint], rows: Iterable[tuple[int, NDArray[np.intp]]]) -> list[Likeness]:
    """Compare each picture with those of its row: hashes at once, and what is alike in them one by one."""
    squares = [_square(f) for f in fingerprints]
    hashes = np.array([_packed_hashes(s) for s in squares], np.uint64).reshape(-1, 8)
    textured, detail = [_textured(s) for s in squares], lru_cache(maxsize=4096)(lambda i: _detail(squares[i]))
    plain = np.array([np.count_nonzero(t) < _LEAST_TEXTURED for t in textured], np.bool_)
    looked_at, found = 0, []
    for a, others in rows:
        differ = np.bitwise_count(hashes[others] ^ hashes[a, 0]).min(axis=1, initial=HASH_BITS)
        alike = others[(differ <= MOST_HASH_BITS) & ~plain[others] & ~plain[a]]
        looked_at += len(alike)
        if looked_at > MOST_ALIKE:
            raise _too_many_alike()
        for b in alike.tolist():
            one = _copy(a, b, (detail(a), detail(b)), (textured[a], textured[b]))
            found += [] if one is None else [one]
    return found


def _copy(a: int, b: int, detail: tuple[Grey, Grey], textured: tuple[BinaryMask, BinaryMask]) -> Likeness | None:
    scores = np.array([_score(detail[0], turn(detail[1], view)) for view in range(8)])
    view = int(scores.argmax())
    specific = np.partition(scores, -2)[-2] <= UNSPECIFIC * scores[view]
    enough = scores[view] >= COPY_SCORE and _texture(textured[0], turn(textured[1], view)) >= _LEAST_TEXTURED
    if not specific or not enough:
        return None
    return Likeness(a, b, "near_duplicate", float(scores[view]), 1.0, view, (0.0, 0.0))


def _too_many_alike() -> Invalid:
    return Invalid(
        f"More than {MOST_ALIKE} pairs of images of different subjects look alike; no more can be compared closely.",
        code="too_many_alike",
        hint="Keep one image of each field of view, or upload the subjects in several datasets.",
        pointer="/cases",
    )


def find_overlaps(fingerprints: Sequence[Fingerprint], pairs: Sequence[tuple[int, int]]) -> list[Likeness]:
    """Return the pairs whose fields of view overlap at one magnification, shifted and turned by quarter turns.

    About 2 ms per pair.
    """
    shelf = _Shelf(fingerprints)
    ordered = sorted(pairs, key=lambda pair: (pair[1], pair[0]))
    found = [one for a, b in ordered if (one := _overlap(shelf, a, b)) is not None]
    return sorted(found, key=lambda one: (one.a, one.b))


def turn(picture: NDArray[Pixel], view: int) -> NDArray[Pixel]:
    """Return one of the eight orientations of a picture."""
    return np.rot90(picture[:, ::-1] if view >= 4 else picture, view % 4)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A picture that stays where it is."""

    spectrum: NDArray[np.complex64]
    weight: Grey
    """(PAD_PX, PAD_PX) by shift of the other: root of the overlap's size over the root of the detail in it; 0 where the
    overlap is too small."""


@dataclass(frozen=True, slots=True)
class _Moved:
    """A picture in its eight orientations."""

    spectra: NDArray[np.complex64]
    weights: Grey
    """(8, PAD_PX, PAD_PX) by shift: one over the root of the detail in the overlap."""


class _Shelf:
    """Pictures at the scales at which they are compared, made once."""

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        self.fingerprints = fingerprints
        self.detail = lru_cache(maxsize=4096)(self._detail)
        self.textured = lru_cache(maxsize=4096)(self._textured)
        self.fixed = lru_cache(maxsize=4096)(self._fixed)
        self.moved = lru_cache(maxsize=8)(self._moved)

    def _detail(self, index: int, scale: float) -> Grey:
        found = self.fingerprints[index]
        return _detail(_shrink(found.grey.astype(np.float32), scale / found.scale))

    def _textured(self, index: int, scale: float) -> NDArray[np.bool_]:
        found = self.fingerprints[index]
        return _textured(_shrink(found.grey.astype(np.float32), scale / found.scale))

    def _fixed(self, index: int, scale: float, other: tuple[int, int]) -> _Fixed:
        detail = self.detail(index, scale)
        energy, size = _energy(detail, other, _SHIFTS)
        least = LEAST_SHARE * min(detail.size, other[0] * other[1])
        weight = np.where(size >= least, np.sqrt(size) / np.sqrt(energy + size * _FLOOR + _FLOOR), 0.0)
        return _Fixed(_spectrum(detail), weight.astype(np.float32))

    def _moved(self, index: int, scale: float, other: tuple[int, int]) -> _Moved:
        spectra, weights = [], []
        for view in range(8):
            detail = turn(self.detail(index, scale), view)
            energy, size = _energy(detail, other, -_SHIFTS)
            spectra.append(_spectrum(detail))
            weights.append(1 / np.sqrt(energy + size * _FLOOR + _FLOOR))
        return _Moved(np.conj(np.stack(spectra)), np.stack(weights).astype(np.float32))


@dataclass(frozen=True, slots=True)
class _Match:
    """Where b fits best on a in one orientation."""

    view: int
    shift: tuple[int, int]
    """Rows and columns, in fine pixels."""
    fine: float
    """Fine pixels per pixel of the image."""
    score: float


def _overlap(shelf: _Shelf, a: int, b: int) -> Likeness | None:
    """Find the shift and orientation of b that explain most detail, and look at it and its rival twice as fine."""
    scale = _common_scale(shelf.fingerprints[a], shelf.fingerprints[b])
    evidence = _evidence(shelf, a, b, scale)
    rivals = np.argsort(-evidence.max(axis=(1, 2)))
    best, rival = (_match(shelf, a, b, scale=scale, view=int(v), evidence=evidence[v]) for v in rivals[:2])
    if best is None or best.score < SCORE or (rival is not None and rival.score > UNSPECIFIC * best.score):
        return None
    return _likeness(shelf, a, b, best)


def _evidence(shelf: _Shelf, a: int, b: int, scale: float) -> Grey:
    """Return (8, PAD_PX, PAD_PX): correlation by orientation and shift, times the root of the overlap's size."""
    still, other = shelf.detail(a, scale).shape, shelf.detail(b, scale).shape
    moved = shelf.moved(b, scale, still)
    fixed = [shelf.fixed(a, scale, other if view % 2 == 0 else other[::-1]) for view in range(8)]
    evidence: Grey = fft.irfft2(fixed[0].spectrum[None] * moved.spectra, (PAD_PX, PAD_PX))
    evidence *= moved.weights
    for view in range(8):
        evidence[view] *= fixed[view].weight
    return evidence


def _match(shelf: _Shelf, a: int, b: int, *, scale: float, view: int, evidence: Grey) -> _Match | None:
    row, column = divmod(int(np.argmax(evidence)), PAD_PX)
    shift = int(_SHIFTS[row]), int(_SHIFTS[column])
    coarse = shelf.detail(a, scale).shape, turn(shelf.detail(b, scale), view).shape
    if evidence[row, column] < COARSE_SCORE * _overlap_size(*coarse, shift) ** 0.5:
        return None
    fine = min(2 * scale, shelf.fingerprints[a].scale, shelf.fingerprints[b].scale)
    still, moved = shelf.detail(a, fine), turn(shelf.detail(b, fine), view)
    down, across = (range(m - _REACH, m + _REACH + 1) for m in (round(s * fine / scale) for s in shift))
    scores = {at: s for at in product(down, across) if (s := _score_at(still, moved, at)) is not None}
    best = max(scores, key=lambda at: scores[at], default=None)
    return None if best is None else _Match(view, best, fine, scores[best])


def _likeness(shelf: _Shelf, a: int, b: int, match: _Match) -> Likeness | None:
    """Return what was found, or None where the overlap holds too little texture to say so."""
    still, moved = shelf.textured(a, match.fine), turn(shelf.textured(b, match.fine), match.view)
    here, there = _windows(still.shape, moved.shape, match.shift)
    if _texture(still[here], moved[there]) < LEAST_TEXTURE * min(still.size, moved.size):
        return None
    size = _overlap_size(still.shape, moved.shape, match.shift)
    kind: Kind = "near_duplicate" if size >= WHOLE * max(still.size, moved.size) else "overlap"
    corner = match.shift[1] / match.fine, match.shift[0] / match.fine
    return Likeness(a, b, kind, match.score, size / min(still.size, moved.size), match.view, corner)


def _common_scale(a: Fingerprint, b: Fingerprint) -> float:
    """Return the scale at which the larger of two images fits a coarse picture, in steps of a quarter octave."""
    longest = max(a.width, a.height, b.width, b.height)
    steps = np.ceil(4 * np.log2(max(1.0, longest / COARSE_PX)) - 1e-9)
    return float(2 ** (-steps / 4))


def _spectrum(detail: Grey) -> NDArray[np.complex64]:
    return fft.rfft2(detail, (PAD_PX, PAD_PX)).astype(np.complex64)


def _energy(
    detail: Grey, other: tuple[int, int], shifts: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the sum of squares and the size of the overlap with a rectangle ``other`` at every shift of its corner.

    With the shifts negated: of a picture that moves over a rectangle ``other`` that stays.
    """
    total = np.pad(np.square(detail, dtype=np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    top, bottom = (np.clip(shifts + n, 0, detail.shape[0]) for n in (0, other[0]))
    left, right = (np.clip(shifts + n, 0, detail.shape[1]) for n in (0, other[1]))
    energy = total[bottom][:, right] - total[top][:, right] - total[bottom][:, left] + total[top][:, left]
    return np.maximum(energy, 0.0), (bottom - top)[:, None] * (right - left)[None]


def _overlap_size(still: tuple[int, ...], moved: tuple[int, ...], shift: tuple[int, int]) -> int:
    rows, columns = (min(s, d + m) - max(0, d) for s, m, d in zip(still, moved, shift, strict=True))
    return max(0, rows) * max(0, columns)


def _score_at(still: Grey, moved: Grey, shift: tuple[int, int]) -> float | None:
    """Return the score of the overlap with ``moved`` at a shift; None where it is too small."""
    if _overlap_size(still.shape, moved.shape, shift) < LEAST_SHARE * min(still.size, moved.size):
        return None
    here, there = _windows(still.shape, moved.shape, shift)
    return _score(still[here], moved[there])


def _windows(
    still: tuple[int, ...], moved: tuple[int, ...], shift: tuple[int, int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the overlap in the picture that stays and in the one whose corner is at a shift."""
    starts = [max(0, d) for d in shift]
    ends = [min(s, d + m) for s, m, d in zip(still, moved, shift, strict=True)]
    here = tuple(slice(s, e) for s, e in zip(starts, ends, strict=True))
    return here, tuple(slice(h.start - d, h.stop - d) for h, d in zip(here, shift, strict=True))


def _score(a: Grey, b: Grey) -> float:
    """Return the normalised correlation, at most 1; 0 where either is constant."""
    a, b = a - a.mean(), b - b.mean()
    energy = float(np.sum(a * a)) * float(np.sum(b * b))
    return min(1.0, float(np.sum(a * b)) / energy**0.5) if energy > 0 else 0.0


def _texture(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(a & b))


def _square(fingerprint: Fingerprint) -> Grey:
    """Return the whole picture in a fixed square, whatever its size and shape."""
    grey = fingerprint.grey.astype(np.float32)
    side = 2 * HASH_PX
    rows, columns = (_weights(n, side, n / side) for n in grey.shape)
    square: Grey = (rows @ grey @ columns.T).astype(np.float32, copy=False)
    return square


def _hashes(square: Grey) -> NDArray[np.bool_]:
    """Return (8, HASH_BITS): which low frequencies are above their median, by orientation."""
    half = _shrink(square, 0.5)
    low = np.stack([fft.dctn(turn(half, view), norm="ortho")[:8, :8].ravel() for view in range(8)])
    low[:, 0] = 0
    return low > np.median(low, axis=1, keepdims=True)


def _packed_hashes(square: Grey) -> NDArray[np.uint64]:
    """Return the eight hashes as one number each."""
    return np.packbits(_hashes(square), axis=1).view(np.uint64)[:, 0]


def _detail(grey: Grey) -> Grey:
    """Return fine structure with its local contrast evened out: about 1 in tissue, near 0 on glass."""
    band = _band(grey)
    contrast = gaussian_filter(band * band, 4.0, mode="nearest")
    detail: Grey = (band / np.sqrt(contrast + _NOISE_LEVELS**2)).astype(np.float32)
    return detail


def _band(grey: Grey) -> Grey:
    return gaussian_filter(grey, 1.0, mode="nearest") - gaussian_filter(grey, 5.0, mode="nearest")


def _textured(grey: Grey) -> NDArray[np.bool_]:
    """Say where there is structure on all sides: true inside tissue, false on glass and along edges of flat areas."""
    contrast = gaussian_filter(_band(grey) ** 2, 2.0, mode="nearest")
    return minimum_filter(contrast, size=_ALL_SIDES_PX, mode="nearest") > _NOISE_LEVELS**2


def _shrink(grey: Grey, scale: float) -> Grey:
    """Resample from the corner: each pixel is the mean of its exact footprint; a rest that fills none is dropped."""
    rows, columns = (_weights(n, max(1, int(n * scale + 1e-6)), 1 / scale) for n in grey.shape)
    small: Grey = (rows @ grey @ columns.T).astype(np.float32, copy=False)
    return small


@lru_cache(maxsize=256)
def _weights(source: int, target: int, step: float) -> Grey:
    """Return (target, source): target pixel i averages the source from i * step to (i + 1) * step."""
    edges = np.minimum(np.arange(target + 1) * step, source)
    pixels = np.arange(source)
    cover = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    cover = np.clip(cover, 0, None)
    weights: Grey = (cover / cover.sum(1, keepdims=True)).astype(np.float32)
    return weights
