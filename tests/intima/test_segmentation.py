"""Served masks are the scored ones."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from intima.contracts.segmentation import SegmentationRequest, SegmentationResult, SlideInfo, UncertaintySpec
from intima.framing import Frame
from intima.geometry import Region, Size
from intima.inference import load_model
from intima.maps import map_slide
from intima.phantom import draw_specs, render
from intima.rasters import read_whole
from intima.registry import publish_default
from intima.resampling import upsample_logits
from intima.segmentation import plan_segmentation, segment_slide
from intima.slides.memory import slide_from_image
from intima.store.catalog import StoredSlide
from intima.store.scratch import open_scratch
from intima.store.storage import Storage, open_storage


def collected(stacked: np.ndarray, *, native: Size, rows: int = 5, columns: int = 7) -> np.ndarray:
    """The mask of stacked logits (passes * 4 classes, height, width) that come in blocks."""
    channels, height, width = stacked.shape
    regions = [
        Region(left, top, min(columns, width - left), min(rows, height - top))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]
    blocks = ((r, stacked[:, r.y : r.y + r.height, r.x : r.x + r.width]) for r in regions)
    with tempfile.TemporaryDirectory() as folder, open_scratch(Path(folder), floor_bytes=0) as scratch:
        maps = map_slide(
            blocks,
            frame=Frame(
                slide=native,
                region=Region(0, 0, native.width, native.height),
                working_slide=Size(width, height),
                scale=0.4,
                mpp=None,
            ),
            near=None,
            passes=channels // 4,
            classes=4,
            scratch=scratch,
            report=lambda _share: None,
        )
        return read_whole(maps.mask)


@pytest.mark.parametrize("native", [Size(50, 30), Size(20, 12), Size(9, 7)])
def test_one_pass_gives_the_mask_that_scoring_gives(native: Size) -> None:
    """Scoring brings logits to the native size (training.scoring.predict_mask)."""
    logits = np.random.default_rng(0).normal(scale=4, size=(4, 12, 20)).astype(np.float32)
    np.testing.assert_array_equal(collected(logits, native=native), upsample_logits(logits, native).argmax(0))


def test_several_passes_give_the_mask_of_their_mean_probability() -> None:
    """As a scored ensemble, whose logits are the logarithm of the mean of its members' softmax."""
    logits = np.random.default_rng(1).normal(scale=4, size=(3, 4, 12, 20)).astype(np.float32)
    each = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = upsample_logits(np.log(each.mean(0)), Size(50, 30)).argmax(0)
    np.testing.assert_array_equal(collected(logits.reshape(12, 12, 20), native=Size(50, 30)), expected)


def test_certain_pixels_stay_finite() -> None:
    """A probability of 0 in float32 is no logarithm of minus infinity, which would spread."""
    logits = np.zeros((4, 8, 8), np.float32)
    logits[0, :, :4], logits[1, :, 4:] = 500, 500
    mask = collected(logits, native=Size(16, 16))
    assert (mask[:, :8] == 0).all()
    assert (mask[:, 8:] == 1).all()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    folder: Path = tmp_path_factory.mktemp("store")
    opened = open_storage(folder)
    yield opened
    opened.close()


def sampled(storage: Storage, uncertainty: UncertaintySpec) -> SegmentationResult:
    """Segment a synthetic artery with the shipped model."""
    version = publish_default(storage)
    image = render(draw_specs(seed=5, subjects=1, size_px=320, mpp=2.0)[0].spec).image
    info = SlideInfo(format="test", width=320, height=320, levels=1, mpp=2.0, vendor=None)
    stored = StoredSlide(
        id="s", sha256="0" * 64, name="artery", info=info, mpp=None, subject=None, created_at="2026-01-01T00:00:00Z"
    )
    request = SegmentationRequest(model=version.ref, uncertainty=uncertainty)
    return segment_slide(
        slide_from_image(image, info),
        storage,
        payload=plan_segmentation(stored, version, request),
        model=load_model(storage, version.ref),
        report=lambda _fraction, _message: None,
    )


def files_of(result: SegmentationResult) -> dict[str, str]:
    return {a.name: a.sha256 for a in result.artefacts}


def test_monte_carlo_dropout_of_a_seed_is_one_map_and_of_another_seed_another(storage: Storage) -> None:
    first, again, other = (
        sampled(storage, UncertaintySpec(sampler="mc_dropout", passes=10, seed=seed)) for seed in (1, 1, 2)
    )
    assert first.uncertainty is not None
    assert (first.uncertainty.sampler, first.uncertainty.passes) == ("mc_dropout", 10)
    assert any("not the disagreement" in warning for warning in first.warnings)
    assert 0 < first.uncertainty.mean_disagreement < first.uncertainty.mean_entropy
    assert files_of(first)["disagreement.ome.tiff"] == files_of(again)["disagreement.ome.tiff"]
    assert files_of(first)["disagreement.ome.tiff"] != files_of(other)["disagreement.ome.tiff"]
    assert files_of(first)["mask.png"] == files_of(again)["mask.png"]
    stenosis = next(m for m in first.vessels[0].measures if m.name == "stenosis")
    assert stenosis.interval is not None
    assert stenosis.interval.low < stenosis.interval.high
