"""The decode child: answers like the decoder itself, dies alone, leaves nothing behind."""

import contextlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from intima.errors import Invalid
from intima.slides import isolation
from intima.slides.isolation import (
    CaseFiles,
    CaseReport,
    Limits,
    decode_image_isolated,
    decode_mask_isolated,
    inspect_cases_isolated,
    inspect_isolated,
)

RNG = np.random.default_rng(4)
RGB = RNG.integers(0, 256, (120, 90, 3), dtype=np.uint8)
MASK = RNG.integers(0, 4, (120, 90), dtype=np.uint8)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(32, 32))
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    Image.fromarray(MASK).save(path)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.tif"
    path.write_bytes(b"II*\0" + bytes(200))
    return path


def zombies() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if p.status() == psutil.STATUS_ZOMBIE]


def test_answers_equal_those_of_the_decoders(image: Path, mask: Path) -> None:
    info = inspect_isolated(image, name="image.tif")
    assert (info.width, info.height, info.format) == (90, 120, "tiff")
    assert np.array_equal(decode_image_isolated(image), RGB)
    assert np.array_equal(decode_mask_isolated(mask), MASK)


def test_errors_come_back_with_code_and_hint(broken: Path, mask: Path, image: Path) -> None:
    with pytest.raises(Invalid) as caught:
        inspect_isolated(broken, name="broken.tif")
    assert caught.value.code == "unreadable_image"
    assert "broken.tif" in caught.value.message
    with pytest.raises(Invalid) as caught:
        decode_mask_isolated(image, name="image.tif")
    assert caught.value.code == "bad_mask"
    assert "class indices" in caught.value.hint
    with pytest.raises(Invalid) as caught:
        decode_image_isolated(image, max_pixels=100)
    assert caught.value.code == "image_too_large"
    with pytest.raises(Invalid) as caught:
        decode_mask_isolated(mask, max_pixels=100)
    assert caught.value.code == "image_too_large"


def test_a_killed_child_is_an_unreadable_image(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(RNG.integers(0, 256, (3000, 3000, 3), dtype=np.uint8)).save(path, compress_level=1)
    start = time.monotonic()
    with pytest.raises(Invalid) as caught:
        decode_image_isolated(path, name="large.png", limits=Limits(wall_s=0.05))
    assert caught.value.code == "unreadable_image"
    assert time.monotonic() - start < 10
    assert zombies() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_AS")
def test_memory_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.zeros((6000, 6000, 3), np.uint8), photometric="rgb", tile=(512, 512), compression="zlib")
    assert decode_image_isolated(path).max() == 0
    with pytest.raises(Invalid) as caught:
        decode_image_isolated(path, limits=Limits(memory_bytes=64 * 2**20))
    assert caught.value.code == "unreadable_image"


def test_the_answer_on_disk_is_limited(image: Path) -> None:
    with pytest.raises(Invalid) as caught:
        decode_image_isolated(image, limits=Limits(file_bytes=1000))
    assert caught.value.code == "unreadable_image"


def test_cases_report_pixels_and_errors_in_order(tmp_path: Path, image: Path, mask: Path, broken: Path) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(MASK[:50]).save(small)
    pairs = [
        CaseFiles(image, mask, "a", "am"),
        CaseFiles(broken, mask, "b", "bm"),
        CaseFiles(image, small, "c", "cm"),
        CaseFiles(image, image, "d", "dm"),
        CaseFiles(image, mask, "e", "em"),
    ]
    found = inspect_cases_isolated(pairs)
    assert [getattr(each, "code", "ok") for each in found] == ["ok", "unreadable_image", "mask_size", "bad_mask", "ok"]
    report = found[0]
    assert isinstance(report, CaseReport)
    assert report.pixels == {int(v): int(np.sum(v == MASK)) for v in range(4)}
    assert (report.size.width, report.size.height) == (90, 120)
    assert inspect_cases_isolated([]) == []


def test_a_case_that_kills_the_child_costs_only_itself(tmp_path: Path, image: Path, mask: Path) -> None:
    large = tmp_path / "large.png"
    Image.new("RGB", (9400, 9400)).save(large, compress_level=1)  # seconds of CPU time; the others some hundredths
    fine, deadly = CaseFiles(image, mask), CaseFiles(large, mask, "deadly")
    found = inspect_cases_isolated([fine, deadly, fine], limits=Limits(cpu_s=1))
    assert [isinstance(each, CaseReport) for each in found] == [True, False, True]
    assert isinstance(found[1], Invalid)
    assert "deadly" in found[1].message
    assert zombies() == []


def test_many_threads_may_ask_at_once(image: Path, broken: Path) -> None:
    def ask(number: int) -> str:
        try:
            return inspect_isolated(broken if number % 2 else image, name="x").format
        except Invalid as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(24)))
    assert found == ["tiff", "unreadable_image"] * 12
    assert zombies() == []


def test_the_asking_process_loads_no_decoder(image: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from intima.slides.isolation import decode_image_isolated\n"
        "if __name__ == '__main__':\n"
        f"    assert decode_image_isolated(Path({str(image)!r})).shape == (120, 90, 3)\n"
        "    print([m for m in ('PIL', 'tifffile', 'openslide', 'imagecodecs') if m in sys.modules])\n"
    )
    root = Path(isolation.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=60, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_mutated_files_end_as_info_or_as_invalid(image: Path, tmp_path: Path) -> None:
    whole = image.read_bytes()
    for _ in range(40):
        changed = bytearray(whole)
        for position in RNG.integers(0, min(400, len(whole)), 4):
            changed[position] = int(RNG.integers(0, 256))
        path = tmp_path / "mutant.tif"
        path.write_bytes(bytes(changed))
        with contextlib.suppress(Invalid):
            assert inspect_isolated(path, name="mutant").width > 0
    assert zombies() == []
