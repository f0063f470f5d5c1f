"""Images on disk that leave nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.rasters import HeldRaster, read_blocks, read_whole
from intima.store.incoming import StorageFull
from intima.store.scratch import open_scratch


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from([np.uint8, np.float32]),
    data=st.data(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int], dtype: type, data: st.DataObject
) -> None:
    expected = np.zeros(shape, dtype)
    with open_scratch(tmp_path_factory.getbasetemp(), floor_bytes=0) as scratch:
        raster = scratch.raster(shape, dtype)
        for number in range(1, 4):
            top, left = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
            rows, columns = data.draw(st.integers(1, shape[0] - top)), data.draw(st.integers(1, shape[1] - left))
            window = (np.arange(rows * columns).reshape(rows, columns) % 50 + number).astype(dtype)
            raster.write(top, left, window)
            expected[top : top + rows, left : left + columns] = window
            assert np.array_equal(raster.read(slice(top, top + rows), slice(left, left + columns)), window)
        assert np.array_equal(read_whole(raster), expected)
        assert np.array_equal(np.concatenate([b for _, b in read_blocks(raster, pixels=50)]), expected)
        assert (raster.shape, raster.dtype) == (shape, np.dtype(dtype))


@pytest.mark.parametrize(
    ("pixels", "multiple", "heights"), [(10, 1, [2, 2, 2, 1]), (1, 1, [1] * 7), (1, 2, [2, 2, 2, 1])]
)
def test_blocks_have_whole_rows(pixels: int, multiple: int, heights: list[int]) -> None:
    blocks = list(read_blocks(HeldRaster(np.zeros((7, 5), np.uint8)), pixels=pixels, multiple=multiple))
    assert [len(rows) for _, rows in blocks] == heights
    assert [top for top, _ in blocks] == [sum(heights[:n]) for n in range(len(heights))]


def test_a_window_outside_is_an_error(tmp_path: Path) -> None:
    with open_scratch(tmp_path, floor_bytes=0) as scratch:
        raster = scratch.raster((4, 5), np.uint8)
        with pytest.raises(IndexError):
            raster.write(3, 0, np.zeros((2, 5), np.uint8))
        with pytest.raises(IndexError):
            raster.write(0, 3, np.zeros((1, 3), np.uint8))


def test_nothing_stays_in_the_folder(tmp_path: Path) -> None:
    with open_scratch(tmp_path, floor_bytes=0) as scratch:
        raster = scratch.raster((400, 500), np.uint8)
        raster.write(0, 0, np.ones((400, 500), np.uint8))
        assert list(tmp_path.iterdir()) == []
    assert raster.file.closed


def test_a_killed_process_gives_its_room_back(tmp_path: Path) -> None:
    code = f"""
import numpy as np, time
from pathlib import Path
from intima.store.scratch import open_scratch
with open_scratch(Path({str(tmp_path)!r}), floor_bytes=0) as scratch:
    scratch.raster((4000, 4000), np.uint8).write(0, 0, np.ones((4000, 4000), np.uint8))
    print("written", flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with open_scratch(tmp_path, floor_bytes=0) as scratch, pytest.raises(StorageFull, match="are free"):
        scratch.raster((2**25, 2**25), np.uint8)


def test_a_volume_that_fills_up_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int, _data: object, _offset: int) -> int:
        raise OSError(28, "No space left on device")

    with open_scratch(tmp_path, floor_bytes=0) as scratch:
        raster = scratch.raster((4, 5), np.uint8)
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StorageFull):
            raster.write(0, 0, np.ones((4, 5), np.uint8))
