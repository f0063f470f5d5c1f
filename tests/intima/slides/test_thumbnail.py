"""The second page of an SVS: kept in a de-identified copy only where it is the main image made smaller."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from intima.errors import Invalid
from intima.slides.isolation import deidentify_isolated, inspect_isolated
from tests.intima.slides.test_deidentify import SECRET, stripped
from tests.slide_files import texture

TISSUE = np.kron(texture(16, 32, seed=7), np.ones((32, 32, 1), np.uint8))
SHRUNK = np.ascontiguousarray(TISSUE[::4, ::4])
HEAD = "Aperio Image Library v1\r\n"


def svs(path: Path, second: np.ndarray, text: str = "", *, kind: int = 0, levels: int = 1) -> Path:
    """Write an SVS of flat patches with a second page that is not tiled."""
    text = f"{HEAD}1024x512 -> {second.shape[1]}x{second.shape[0]} {text}"
    with tifffile.TiffWriter(path) as out:
        about = f"{HEAD}1024x512 |AppMag = 20|MPP = 0.5|Filename = label {SECRET.decode()}"
        out.write(TISSUE, tile=(256, 256), photometric="rgb", description=about, metadata=None)
        strips = {"photometric": "rgb", "rowsperstrip": 16, "metadata": None}
        out.write(second, description=text, subfiletype=kind, **strips)
        for n in range(1, levels):
            level = np.ascontiguousarray(TISSUE[:: 2**n, :: 2**n])
            out.write(level, tile=(256, 256), photometric="rgb", description=f"{HEAD}{n}", metadata=None)
    return path


def with_note(picture: np.ndarray) -> np.ndarray:
    """Return the picture with a dark line on it, as handwriting is."""
    noted = picture.copy()
    noted[20:24, 40:100] = 0
    return noted


@pytest.mark.parametrize("levels", [1, 2])
def test_a_thumbnail_that_looks_like_the_main_image_stays(tmp_path: Path, levels: int) -> None:
    source = svs(tmp_path / "a.svs", SHRUNK, levels=levels)
    target = stripped(source, tmp_path / "b.svs")
    assert inspect_isolated(target, name="x").associated == ("thumbnail",)
    assert SHRUNK.tobytes() in target.read_bytes()
    assert SECRET not in target.read_bytes()


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize(
    ("second", "text", "kind"),
    [
        (SHRUNK, "label 256x128", 0),
        (SHRUNK, "|Title = Macro", 0),
        (SHRUNK, "", 1),
        (SHRUNK, "", 9),
        (SHRUNK, "", 8),
        (np.full_like(SHRUNK, 77), "", 0),
        (texture(128, 256, seed=11), "", 0),
        (np.ascontiguousarray(SHRUNK[:, ::-1]), "", 0),
        (with_note(SHRUNK), "", 0),
    ],
    ids=["says label", "says macro", "kind 1", "kind 9", "kind 8", "flat", "other", "mirrored", "written on"],
)
def test_a_second_page_that_may_be_a_label_is_not_kept(
    tmp_path: Path, second: np.ndarray, text: str, kind: int, levels: int
) -> None:
    source = svs(tmp_path / "a.svs", second, text, kind=kind, levels=levels)
    assert second.tobytes() in source.read_bytes()
    target = stripped(source, tmp_path / "b.svs")
    assert inspect_isolated(target, name="x").associated == ()
    clean = target.read_bytes()
    assert all(second[row : row + 16].tobytes() not in clean for row in range(0, len(second), 16))
    assert SECRET not in clean


def test_a_white_label_beside_a_white_slide_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.TISSUE", np.full_like(TISSUE, 243))
    blank = np.full_like(SHRUNK, 243)
    kept = stripped(svs(tmp_path / "a.svs", blank), tmp_path / "b.svs")
    assert inspect_isolated(kept, name="x").associated == ("thumbnail",)
    dropped = stripped(svs(tmp_path / "c.svs", with_note(blank)), tmp_path / "d.svs")
    assert inspect_isolated(dropped, name="x").associated == ()


def test_a_thumbnail_nobody_can_decode_is_not_kept(tmp_path: Path) -> None:
    source = svs(tmp_path / "a.svs", SHRUNK)
    with tifffile.TiffFile(source, mode="r+b") as file:
        counts = list(file.pages[1].databytecounts)
        file.pages[1].tags["StripByteCounts"].overwrite([9, *counts[1:]])
    target = tmp_path / "b.svs"
    deidentify_isolated(source, target, name="x")
    assert SHRUNK[16:32].tobytes() not in target.read_bytes()


def test_a_level_that_is_called_label_is_refused(tmp_path: Path) -> None:
    source = svs(tmp_path / "a.svs", SHRUNK)
    with tifffile.TiffWriter(source, append=True) as out:
        level = np.ascontiguousarray(TISSUE[::2, ::2])
        out.write(level, tile=(128, 128), photometric="rgb", description=f"{HEAD}label 512x256", metadata=None)
    with pytest.raises(Invalid, match="label") as caught:
        deidentify_isolated(source, tmp_path / "b.svs", name="x")
    assert caught.value.code == "cannot_deidentify"
