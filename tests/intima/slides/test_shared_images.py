"""Real, unusual and damaged files: each is read right or refused for a stated reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide
from PIL import Image

from intima.errors import Invalid
from intima.slides import open_slide, read_image, read_mask
from intima.slides.isolation import decode_image_isolated, inspect_isolated

REFUSALS = {"unreadable_image", "unsupported_image", "image_too_large", "unknown_format"}

UNUSUAL_REFUSED = (
    "float",
    "fp16",
    "f32",
    "__int8",
    "__int16",
    "i8b",
    "i16b",
    "-i8",
    "64b",
    "32bit_128",
    "16bit.s",
    "lab.tif",
    "logluv",
    "separate_planar_extra",
    "ojpeg-tile",
)
"""Parts of names of the files that are refused: float, signed, 32 and 64 bit, Lab, LogLuv, and one old-style JPEG."""

OTHER_SCALE = (
    "16",
    "12",
    "cmyk",
    "minisblack-1c-",
    "miniswhite-1c-6b",
    "alpha",
    "RGBa",
    "extra_bits",
    "la.tiff",
    "_LA_",
)
"""Parts of names where Pillow converts in another way (bit depth, ink, alpha), so that only the shape is compared."""


def entries(folder: Path) -> list[dict[str, Any]]:
    manifest = json.loads((folder / "manifest.json").read_text())
    found: list[dict[str, Any]] = manifest if isinstance(manifest, list) else manifest["files"]
    return found


def outcome(path: Path) -> str:
    try:
        info = inspect_isolated(path, name=path.name)
        image = decode_image_isolated(path, name=path.name)
    except Invalid as error:
        return error.code
    assert image.shape == (info.height, info.width, 3)
    return "ok"


def test_every_damaged_file_is_answered(shared_data: Path) -> None:
    folder = shared_data / "image-damaged"
    found = [outcome(folder / entry["file"]) for entry in entries(folder)]
    assert set(found) <= REFUSALS | {"ok"}
    assert len(found) == 117
    assert found.count("ok") <= 14


def test_every_unusual_file_is_read_right_or_refused_for_its_kind(shared_data: Path) -> None:
    folder = shared_data / "image-unusual"
    for entry in entries(folder):
        path = folder / entry["file"]
        expected = "refused" if any(part in path.name for part in UNUSUAL_REFUSED) else "ok"
        found = outcome(path)
        assert (found == "ok") == (expected == "ok"), (path.name, found)
        if found == "ok" and entry["observed"]["pillow"][0] == "ok":
            compare_with_pillow(path, entry["observed"]["pillow"][2])


def compare_with_pillow(path: Path, size: list[int]) -> None:
    with open_slide(path) as slide:
        image = read_image(slide)
    assert [image.shape[1], image.shape[0]] == size or "orient" in path.name or "rotation" in path.name, path.name
    if not any(part in path.name for part in OTHER_SCALE):
        with Image.open(path) as opened:
            upright = upright_by_pillow(opened)
        assert np.abs(image.astype(int) - upright).mean() < 2.5, path.name


def upright_by_pillow(image: Image.Image) -> np.ndarray:
    from PIL import ImageOps

    background = Image.new("RGBA", ImageOps.exif_transpose(image).size, "white")
    return np.asarray(Image.alpha_composite(background, ImageOps.exif_transpose(image).convert("RGBA")).convert("RGB"))


def test_real_slides_are_read_or_refused_for_a_reason(shared_data: Path) -> None:
    refused = {"cells-2c.ome.tif": "unsupported_image"}
    folder = shared_data / "wsi"
    for entry in entries(folder):
        path = folder / entry["file"]
        expected = "unsupported_image" if entry["kind"] == "dicom-seg" else refused.get(path.name, "ok")
        assert outcome(path) == expected, path.name


@pytest.mark.parametrize(
    ("file", "mpp"),
    [
        ("svs/CMU-1-Small-Region.svs", 0.499),
        ("dicom-wsi/camelyon-jpeg/multi_frame_jpeg_camelyon_challenge_image.dcm", 28.969),
        ("tiled-tiff/no_dzi.tif", 0.972),
        ("tiled-tiff/invalid_resolutions_tiff.tif", None),
        ("plain-tiff/kidney-48-5.tif", None),
        ("ome-tiff/cells-2z.ome.tif", 0.25),
    ],
)
def test_pixel_sizes_of_real_slides(shared_data: Path, file: str, mpp: float | None) -> None:
    info = inspect_isolated(shared_data / "wsi" / file, name=file)
    assert info.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-3))


def test_svs_equals_openslide(shared_data: Path) -> None:
    path = shared_data / "wsi" / "svs" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, OpenSlide(path) as reference:
        assert slide.info.vendor == "aperio"
        expected = np.asarray(reference.read_region((0, 0), 0, reference.dimensions).convert("RGB"))
        assert np.array_equal(read_image(slide), expected)


def test_a_real_label_pyramid_is_a_mask(shared_data: Path) -> None:
    path = shared_data / "wsi" / "tiled-tiff" / "no_dzi.tif"
    assert np.array_equal(read_mask(path), tifffile.imread(path))


def test_real_colour_masks_are_refused_with_a_hint(shared_data: Path) -> None:
    path = next((shared_data / "skin-layers-pas" / "masks").iterdir())
    with pytest.raises(Invalid, match="mode RGB") as caught:
        read_mask(path)
    assert "class indices" in caught.value.hint
