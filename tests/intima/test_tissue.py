"""Tissue against glass on pictures whose answer is known."""

import time
from pathlib import Path

import numpy as np
import pytest

from intima.geometry import Region, Size
from intima.slides import open_slide, read_working
from intima.tissue import near_tissue, tissue_mask

STAINS = {
    "H&E pink": (230, 170, 200),
    "PAS magenta": (190, 110, 170),
    "EVG yellow-brown": (195, 160, 105),
    "EVG black": (40, 35, 50),
    "pale fibrosis": (235, 205, 220),
    "silver grey": (120, 120, 120),
}


def picture(stain: tuple[int, int, int], *, glass: int = 243, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:200, :240]
    truth = (rows - 100) ** 2 + (columns - 120) ** 2 < 60**2
    image = np.where(truth[:, :, None], stain, glass) + rng.normal(0, 4, (200, 240, 3))
    return np.clip(image, 0, 255).astype(np.uint8), truth


@pytest.mark.parametrize(
    ("stain", "glass"), [(s, g) for s in STAINS for g in (255, 243, 225) if (s, g) != ("pale fibrosis", 225)]
)
def test_a_disc_of_any_stain_is_found(stain: str, glass: int) -> None:
    image, truth = picture(STAINS[stain], glass=glass)
    found = tissue_mask(image)
    overlap = 2 * np.sum(found & truth) / (found.sum() + truth.sum())
    assert overlap > 0.97


@pytest.mark.parametrize("glass", [255, 240, 215])
def test_glass_alone_is_empty(glass: int) -> None:
    rng = np.random.default_rng(1)
    image = np.clip(glass + rng.normal(0, 3, (150, 150, 3)), 0, 255).astype(np.uint8)
    assert tissue_mask(image).mean() < 0.001


@pytest.mark.parametrize("stain", [s for s in STAINS if s != "pale fibrosis"])
def test_tissue_alone_is_full(stain: str) -> None:
    rng = np.random.default_rng(2)
    image = np.clip(np.array(STAINS[stain]) + rng.normal(0, 8, (150, 150, 3)), 0, 255).astype(np.uint8)
    assert tissue_mask(image).mean() > 0.98


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 1)])
def test_tiny_pictures_are_answered(size: tuple[int, int]) -> None:
    assert tissue_mask(np.full((*size, 3), 90, np.uint8)).shape == size
    assert tissue_mask(np.full((*size, 3), 255, np.uint8)).sum() == 0
    assert tissue_mask(np.zeros((*size, 3), np.uint8)).shape == size


def test_a_real_slide_is_part_tissue(shared_data: Path) -> None:
    with open_slide(shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs") as slide:
        size = slide.size.scaled(0.2)
        found = tissue_mask(read_working(slide, Region(0, 0, size.width, size.height), scale=0.2))
    assert 0.3 < found.mean() < 0.45
    assert found[100:400, :30].mean() < 0.02


def ring(*, gap: bool) -> np.ndarray:
    """An artery on glass, 400 px; with a gap its lumen is open to the glass outside."""
    rows, columns = np.mgrid[:400, :400]
    radius = np.hypot(rows - 200, columns - 200)
    wall = (radius > 100) & (radius < 120)
    if gap:
        wall &= ~((columns > 200) & (abs(rows - 200) < 25))
    return np.where(wall[:, :, None], (150, 90, 120), (244, 242, 238)).astype(np.uint8)


@pytest.mark.parametrize("gap", [False, True])
def test_what_a_vessel_encloses_is_near_even_where_it_is_torn(gap: bool) -> None:
    near = near_tissue(ring(gap=gap), size=Size(4000, 4000), margin_px=100)
    assert near.of(Region(1900, 1900, 200, 200)).all()
    assert near.touches(Region(1990, 1990, 10, 10))
    assert not near.touches(Region(0, 0, 300, 300))
    assert not near.of(Region(0, 0, 300, 300)).any()
    rows, columns = np.mgrid[:4000, :4000]
    radius = np.hypot(rows - 2000, columns - 2000)
    whole = near.of(Region(0, 0, 4000, 4000))
    assert whole[radius < 1250 if not gap else (radius < 1250) & (columns < 2000)].all()
    assert not whole[radius > 1600].any()


def test_a_region_of_the_map_is_the_crop_of_the_whole() -> None:
    near = near_tissue(ring(gap=True), size=Size(1234, 987), margin_px=3)
    whole = near.of(Region(0, 0, 1234, 987))
    assert np.array_equal(near.of(Region(700, 333, 71, 44)), whole[333:377, 700:771])
    for x, y in np.random.default_rng(0).integers(0, 900, (50, 2)).tolist():
        region = Region(x, y, 60, 50)
        assert near.touches(region) >= bool(near.of(region).any())


def test_an_image_without_tissue_is_looked_at_everywhere() -> None:
    near = near_tissue(np.full((50, 60, 3), 244, np.uint8), size=Size(600, 500), margin_px=64)
    assert near.of(Region(0, 0, 600, 500)).all()


def test_a_margin_wider_than_the_image_is_everywhere_and_takes_no_time() -> None:
    """Few working pixels of a large image: the margin is thousands of pixels of the thumbnail."""
    thumbnail = np.full((400, 400, 3), 240, np.uint8)
    thumbnail[5:40, 5:40] = (150, 40, 90)
    started = time.perf_counter()
    near = near_tissue(thumbnail, size=Size(4, 4), margin_px=64)
    assert near.mask.all()
    assert near.mask.shape == (400, 400)
    assert time.perf_counter() - started < 10


def test_a_pale_section_beside_a_dark_one_is_looked_at() -> None:
    """Otsu's threshold for both lies above the pale one."""
    image = np.full((300, 600, 3), 240, np.uint8)
    image[50:250, 50:200] = (90, 40, 110)
    image[50:250, 380:540] = (200, 191, 200)
    near = near_tissue(image, size=Size(6000, 3000), margin_px=10)
    assert near.of(Region(3900, 600, 1400, 1800)).all()
    assert not near.of(Region(2600, 0, 600, 3000)).any()
