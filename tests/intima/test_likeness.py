"""Fingerprints: copies and overlaps are found with their shift, unrelated and merely similar drawings are not."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from intima import likeness
from intima.errors import Invalid
from intima.likeness import (
    THUMBNAIL_PX,
    find_copies,
    find_copies_between,
    find_overlaps,
    fingerprint_from_json,
    fingerprint_to_json,
    pack_fingerprints,
    take_fingerprint,
    unpack_fingerprints,
)
from tests.builders import COLORS, rings


def tissue(seed: int, height: int = 400, width: int = 400) -> np.ndarray:
    """Return blobs of several sizes: structure everywhere and no symmetry."""
    rng = np.random.default_rng(seed)
    planes = [gaussian_filter(rng.normal(size=(height, width)), s) * s for s in (2, 5, 10)]
    grey = 150 + 90 * sum(planes) / 1.2
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def turned(image: np.ndarray, view: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if view >= 4 else image, view % 4))


def all_pairs(count: int) -> list[tuple[int, int]]:
    return list(combinations(range(count), 2))


@pytest.mark.parametrize("view", range(8))
def test_a_changed_copy_is_found_in_every_orientation(view: int) -> None:
    image = tissue(1, 400, 300)
    changed = turned(np.clip(image * 0.8 + 10, 0, 255).astype(np.uint8), view)
    prints = [take_fingerprint(i) for i in (image, changed, tissue(2))]
    (found,) = find_copies(prints, all_pairs(3))
    assert (found.a, found.b, found.kind) == (0, 1, "near_duplicate")
    assert found.score > 0.95
    assert np.array_equal(turned(changed, found.view).shape, image.shape)


def test_copies_between_groups_are_those_of_all_their_pairs() -> None:
    images = [tissue(1), turned(tissue(1), 3), tissue(2), tissue(1)[:, ::-1], np.full((300, 300, 3), 240, np.uint8)]
    prints, groups = [take_fingerprint(i) for i in images], ["s", "t", "t", "s", "u"]
    pairs = [(a, b) for a, b in all_pairs(5) if groups[a] != groups[b]]
    found = find_copies_between(prints, groups)
    assert [(f.a, f.b) for f in found] == [(0, 1), (1, 3)]
    assert found == find_copies(prints, pairs)
    assert find_copies_between([], []) == find_copies_between(prints[:1], groups[:1]) == []


def test_more_images_alike_than_can_be_looked_at_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "MOST_ALIKE", 2)
    prints = [take_fingerprint(tissue(1))] * 3
    assert len(find_copies_between(prints, ["s", "s", "t"])) == 2
    with pytest.raises(Invalid) as error:
        find_copies_between(prints, ["s", "t", "u"])
    assert error.value.code == "too_many_alike"
    blank = [take_fingerprint(np.full((300, 300, 3), 240, np.uint8))] * 3
    assert find_copies_between(blank, ["s", "t", "u"]) == []


def test_a_copy_of_another_size_is_found() -> None:
    image = tissue(3)
    small = np.asarray(Image.fromarray(image).resize((180, 180)))
    assert find_copies([take_fingerprint(image), take_fingerprint(small)], [(0, 1)])


@pytest.mark.parametrize(("down", "right"), [(0, 180), (120, 60), (-100, 90)])
@pytest.mark.parametrize("view", [0, 1, 6])
def test_an_overlap_is_found_with_its_shift(down: int, right: int, view: int) -> None:
    scene = tissue(4, 700, 700)
    first = scene[150:450, 150:450]
    second = scene[150 + down : 450 + down, 150 + right : 450 + right]
    inverse = next(v for v in range(8) if np.array_equal(turned(turned(second, view), v), second))
    (found,) = find_overlaps([take_fingerprint(first), take_fingerprint(turned(second, view))], [(0, 1)])
    assert found.kind == "overlap"
    assert found.view == inverse
    assert found.offset_px == pytest.approx((right, down), abs=6)
    assert found.share == pytest.approx((300 - abs(down)) * (300 - abs(right)) / 90_000, abs=0.05)
    assert found.score > 0.6


def test_crops_of_two_sizes_are_compared_at_one_magnification() -> None:
    scene = tissue(5, 600, 600)
    prints = [take_fingerprint(scene[:500, :500]), take_fingerprint(scene[100:300, 240:480])]
    (found,) = find_overlaps(prints, [(0, 1)])
    assert found.offset_px == pytest.approx((240, 100), abs=8)
    assert found.share == pytest.approx(1.0, abs=0.02)


def test_unrelated_images_glass_and_drawings_are_no_pairs() -> None:
    images = [tissue(seed) for seed in range(6, 10)]
    images += [np.full((300, 300, 3), 240, np.uint8), np.full((300, 200, 3), 241, np.uint8)]
    images += [COLORS[rings(256, radii=(30 + i, 50 + i, 70 + i), center=128)] for i in range(3)]
    prints = [take_fingerprint(i) for i in images]
    assert find_copies(prints, all_pairs(len(images))) == []
    assert find_overlaps(prints, all_pairs(len(images))) == []


def test_tiny_and_thin_images_are_taken() -> None:
    prints = [take_fingerprint(np.zeros(shape, np.uint8)) for shape in ((1, 1, 3), (1, 900, 3), (9, 5, 3))]
    assert [p.grey.shape for p in prints] == [(1, 1), (1, THUMBNAIL_PX), (9, 5)]
    assert find_overlaps(prints, all_pairs(3)) == find_copies(prints, all_pairs(3)) == []


def test_fingerprints_travel_as_json() -> None:
    taken = take_fingerprint(tissue(11, 300, 500))
    for back in (fingerprint_from_json(fingerprint_to_json(taken)), unpack_fingerprints(pack_fingerprints([taken]))[0]):
        assert (back.width, back.height) == (500, 300)
        assert np.array_equal(back.grey, taken.grey)
