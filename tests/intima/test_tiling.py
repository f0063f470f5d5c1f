"""The sliding window against whole-image prediction, and strips against arrays."""

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intima.arrays import LogitBatch, TileBatch
from intima.errors import Invalid
from intima.geometry import Region, Size
from intima.resampling import Resampling, label_strips, resample_image, upsample_logits
from intima.tiling import TileGrid, Work, predict_blocks, predict_image, predict_tiled, read_from, to_tile_batch


def pointwise(tiles: TileBatch) -> LogitBatch:
    """A net without context: the whole-image answer is known exactly."""
    return np.concatenate([tiles, 2 * tiles[:, :1] - 1], axis=1)


@settings(max_examples=60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    tile=st.sampled_from([32, 64, 96, 128, 512]),
    halo=st.integers(0, 15),
)
def test_pointwise_net_gives_the_same_answer_for_any_tiling(width: int, height: int, tile: int, halo: int) -> None:
    image = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = predict_image(image, pointwise, tile_px=tile, halo_px=halo)
    expected = pointwise(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0]
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, atol=2e-6)


@settings(max_examples=80)
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), tile=st.integers(32, 600), data=st.data())
def test_grid_covers_every_pixel_with_the_overlap_asked_for(
    width: int, height: int, tile: int, data: st.DataObject
) -> None:
    halo = data.draw(st.integers(0, (tile - 1) // 2))
    rows = TileGrid(Size(width, height), tile, halo).rows()
    for axis, length, origins in (
        ("x", width, [r.x for r in rows[0]]),
        ("y", height, [row[0].y for row in rows]),
    ):
        side = min(tile, length)
        assert origins[0] == 0, axis
        assert origins[-1] + side == length, axis
        assert all(a + side - b >= min(2 * halo, side) - 1 and b > a for a, b in itertools.pairwise(origins))


@settings(max_examples=80)
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), tile=st.integers(2, 32).map(lambda n: 32 * n))
def test_even_tiles_cover_as_much_with_fewer_pixels(width: int, height: int, tile: int) -> None:
    halo = min(32, tile // 4)
    even = TileGrid(Size(width, height), tile, halo, even=True).rows()
    usual = TileGrid(Size(width, height), tile, halo).rows()
    for axis, length, mine, theirs in (
        ("x", width, [(r.x, r.width) for r in even[0]], [(r.x, r.width) for r in usual[0]]),
        ("y", height, [(row[0].y, row[0].height) for row in even], [(row[0].y, row[0].height) for row in usual]),
    ):
        assert len(mine) == len(theirs), axis
        assert mine[0][0] == 0, axis
        assert sum(mine[-1]) == length, axis
        assert all(a + side - b >= 2 * halo - 1 for (a, side), (b, _) in itertools.pairwise(mine)), axis
        assert mine[0][1] <= theirs[0][1], axis
        if len(mine) > 1:
            assert mine[0][1] % 32 == 0, axis
            needed = length + 2 * halo * (len(mine) - 1)
            assert mine[0][1] * len(mine) < needed + 32 * len(mine), axis


def test_a_net_with_context_is_close_to_the_whole_image_where_the_halo_covers_it() -> None:
    def blur(tiles: TileBatch) -> LogitBatch:
        padded = np.pad(tiles, ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
        return np.mean([padded[:, :, i : i + tiles.shape[2], 4:-4] for i in range(9)], axis=0, dtype=np.float32)

    image = np.random.default_rng(0).integers(0, 256, (256, 192, 3), dtype=np.uint8)
    whole = predict_image(image, blur, tile_px=512, halo_px=0)
    tiled = predict_image(image, blur, tile_px=96, halo_px=24)
    assert np.abs(whole - tiled).mean() < 2e-3


def test_halo_must_leave_a_core() -> None:
    with pytest.raises(Invalid, match="halo"):
        TileGrid(Size(100, 100), 64, 32)


def test_tiles_are_padded_to_multiples_of_32() -> None:
    batch = to_tile_batch([np.full((33, 1, 3), 255, np.uint8)])
    assert batch.shape == (1, 3, 64, 32)
    assert batch.min() == 1.0


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    native_w=st.integers(1, 90),
    native_h=st.integers(1, 200),
    cuts=st.sets(st.integers(1, 39)),
)
def test_label_strips_equal_the_whole_upsampled_at_once(
    seed: int, native_w: int, native_h: int, cuts: set[int]
) -> None:
    scores = np.random.default_rng(seed).normal(size=(4, 40, 30)).astype(np.float32)
    edges = [0, *sorted(cuts), 40]
    strips = ((a, scores[:, a:b]) for a, b in itertools.pairwise(edges))
    native = Size(native_w, native_h)
    down, across = Resampling.between(40, native_h), Resampling.between(30, native_w)
    parts = list(label_strips(strips, down=down, across=across))
    assert [top for top, _ in parts] == list(np.cumsum([0, *(len(m) for _, m in parts)])[:-1])
    mask = np.concatenate([m for _, m in parts])
    assert mask.shape == (native_h, native_w)
    np.testing.assert_array_equal(mask, upsample_logits(scores, native).argmax(0))


def test_shrinking_keeps_the_mean_and_growing_a_constant() -> None:
    image = np.random.default_rng(1).integers(0, 256, (211, 173, 3), dtype=np.uint8)
    small = resample_image(image, Size(57, 71))
    assert abs(float(small.mean()) - float(image.mean())) < 0.5
    grown = upsample_logits(np.full((2, 3, 3), 7.0, np.float32), Size(50, 20))
    assert grown.shape == (2, 20, 50)
    np.testing.assert_allclose(grown, 7.0, rtol=1e-6)


@settings(max_examples=60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    tile=st.sampled_from([32, 64, 96, 128]),
    halo=st.integers(0, 15),
    data=st.data(),
)
def test_a_part_of_the_tiles_gives_what_all_give_where_no_other_tile_lies(
    width: int, height: int, tile: int, halo: int, data: st.DataObject
) -> None:
    image = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    window = Region(left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top)))
    seen: list[Region] = []

    def wanted(region: Region) -> bool:
        seen.append(region)
        return region.overlaps(window)

    size = Size(width, height)
    found = np.full((4, height, width), np.nan, np.float32)
    for region, logits in predict_blocks(
        read_from(image), size=size, predict=local, tile_px=tile, halo_px=halo, wanted=wanted
    ):
        part = found[:, region.y : region.y + region.height, region.x : region.x + region.width]
        assert np.isnan(part).all(), "blocks overlap"
        part[:] = 0 if logits is None else logits
    expected = predict_image(image, local, tile_px=tile, halo_px=halo)
    rows, columns = slice(top, top + window.height), slice(left, left + window.width)
    assert not np.isnan(found).any(), "blocks leave gaps"
    np.testing.assert_allclose(found[:, rows, columns], expected[:, rows, columns], atol=1e-6)
    assert seen == [r for row in TileGrid(size, tile, halo).rows() for r in row]


def local(tiles: TileBatch) -> LogitBatch:
    """A net with context: what it says depends on where its tile ends."""
    padded = np.pad(tiles, ((0, 0), (0, 0), (2, 2), (2, 2)))
    blurred = np.mean([padded[:, :, i : i + tiles.shape[2], i : i + tiles.shape[3]] for i in range(5)], axis=0)
    return np.concatenate([blurred, tiles[:, :1]], axis=1).astype(np.float32)


def test_no_tile_at_all_gives_blocks_without_logits() -> None:
    blocks = list(
        predict_blocks(
            read_from(np.zeros((70, 90, 3), np.uint8)),
            size=Size(90, 70),
            predict=local,
            tile_px=32,
            halo_px=4,
            wanted=lambda _tile: False,
        )
    )
    assert all(logits is None for _, logits in blocks)
    assert sum(region.size.pixels for region, _ in blocks) == 90 * 70


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_batches_change_nothing(threads: int, batch: int) -> None:
    image = np.random.default_rng(3).integers(0, 256, (250, 330, 3), dtype=np.uint8)
    readers: set[int] = set()

    def read(region: Region) -> np.ndarray:
        readers.add(threading.get_ident())
        return read_from(image)(region)

    def slow(tiles: TileBatch) -> LogitBatch:
        time.sleep(float(tiles.mean()) % 0.003)
        return local(tiles)

    strips = predict_tiled(
        read, size=Size(330, 250), predict=slow, tile_px=64, halo_px=8, work=Work(batch=batch, threads=threads)
    )
    found = np.concatenate([logits for _, logits in strips], axis=1)
    assert np.array_equal(found, predict_image(image, local, tile_px=64, halo_px=8))
    assert readers == {threading.get_ident()}


def test_an_error_in_a_thread_is_raised_and_stops_the_others() -> None:
    calls: list[int] = []

    def failing(tiles: TileBatch) -> LogitBatch:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the net is broken")
        return local(tiles)

    image = np.zeros((640, 640, 3), np.uint8)
    strips = predict_tiled(
        read_from(image), size=Size(640, 640), predict=failing, tile_px=64, halo_px=0, work=Work(batch=1, threads=2)
    )
    with pytest.raises(RuntimeError, match="broken"):
        list(strips)
    assert len(calls) < 20


@settings(max_examples=60)
@given(source=st.integers(1, 90), target=st.integers(1, 200), data=st.data())
def test_a_part_is_resampled_as_the_whole(source: int, target: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, target - 1))
    part = slice(start, data.draw(st.integers(start + 1, target)))
    values = np.random.default_rng(source * 1000 + target).normal(size=(2, 1, source)).astype(np.float32)
    whole = upsample_logits(values, Size(target, 1))[:, 0]
    used = Resampling.between(source, target, part=part)
    columns = used.needed
    moved = used.moved(columns.start)
    ((_, labels),) = label_strips(iter([(0, values[:, :, columns])]), down=Resampling.between(1, 1), across=moved)
    assert np.array_equal(labels[0], whole[:, part].argmax(0))
