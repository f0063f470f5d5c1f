"""Served masks are the scored ones."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from intima import tiling
from intima.contracts.segmentation import SegmentationRequest, SegmentationResult, SlideInfo, UncertaintySpec
from intima.errors import Invalid
from intima.framing import Frame
from intima.geometry import Region, Size
from intima.inference import load_model
from intima.maps import SlideMaps, map_slide
from intima.phantom import draw_specs, render
from intima.rasters import read_whole
from intima.registry import publish_default
from intima.resampling import upsample_logits
from intima.segmentation import plan_segmentation, segment_slide
from intima.slides import read_mask
from intima.slides.memory import slide_from_image
from intima.store.catalog import StoredSlide
from intima.store.scratch import open_scratch
from intima.store.storage import Storage, open_storage


@contextmanager
def collected(
    stacked: np.ndarray, *, native: Size, rows: int = 5, columns: int = 7, temperature: float = 1.0
) -> Iterator[SlideMaps]:
    """What stacked logits (passes * 4 classes, height, width) give that come in blocks."""
    channels, height, width = stacked.shape
    regions = [
        Region(left, top, min(columns, width - left), min(rows, height - top))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]
    blocks = ((r, stacked[:, r.y : r.y + r.height, r.x : r.x + r.width]) for r in regions)
    with tempfile.TemporaryDirectory() as folder, open_scratch(Path(folder), floor_bytes=0) as scratch:
        yield map_slide(
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
            temperature=temperature,
        )


def collected_mask(stacked: np.ndarray, *, native: Size) -> np.ndarray:
    with collected(stacked, native=native) as maps:
        return read_whole(maps.mask)


@pytest.mark.parametrize("native", [Size(50, 30), Size(20, 12), Size(9, 7)])
def test_one_pass_gives_the_mask_that_scoring_gives(native: Size) -> None:
    """Scoring brings logits to the native size (training.scoring.predict_mask)."""
    logits = np.random.default_rng(0).normal(scale=4, size=(4, 12, 20)).astype(np.float32)
    np.testing.assert_array_equal(collected_mask(logits, native=native), upsample_logits(logits, native).argmax(0))


def test_several_passes_give_the_mask_of_their_mean_probability() -> None:
    """As a scored ensemble, whose logits are the logarithm of the mean of its members' softmax."""
    logits = np.random.default_rng(1).normal(scale=4, size=(3, 4, 12, 20)).astype(np.float32)
    each = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = upsample_logits(np.log(each.mean(0)), Size(50, 30)).argmax(0)
    np.testing.assert_array_equal(collected_mask(logits.reshape(12, 12, 20), native=Size(50, 30)), expected)


def test_certain_pixels_stay_finite() -> None:
    """A probability of 0 in float32 is no logarithm of minus infinity, which would spread."""
    logits = np.zeros((4, 8, 8), np.float32)
    logits[0, :, :4], logits[1, :, 4:] = 500, 500
    mask = collected_mask(logits, native=Size(16, 16))
    assert (mask[:, :8] == 0).all()
    assert (mask[:, 8:] == 1).all()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    folder: Path = tmp_path_factory.mktemp("store")
    opened = open_storage(folder)
    yield opened
    opened.close()


def segmented(storage: Storage, image: np.ndarray, *, mpp: float, **request: object) -> SegmentationResult:
    """Segment an image with the shipped model."""
    version = publish_default(storage)
    height, width = image.shape[:2]
    info = SlideInfo(format="test", width=width, height=height, levels=1, mpp=mpp, vendor=None)
    stored = StoredSlide(
        id="s", sha256="0" * 64, name="artery", info=info, mpp=None, subject=None, created_at="2026-01-01T00:00:00Z"
    )
    wish = SegmentationRequest.model_validate({"model": version.ref} | request)
    return segment_slide(
        slide_from_image(image, info),
        storage,
        payload=plan_segmentation(stored, version, wish),
        model=load_model(storage, version.ref),
        report=lambda _fraction, _message: None,
    )


def artery(size_px: int) -> np.ndarray:
    """A SYNTHETIC artery of 640 µm."""
    return render(draw_specs(seed=5, subjects=1, size_px=size_px, mpp=640 / size_px)[0].spec).image


def sampled(storage: Storage, uncertainty: UncertaintySpec) -> SegmentationResult:
    """Segment a synthetic artery with the shipped model."""
    return segmented(storage, artery(320), mpp=2.0, uncertainty=uncertainty)


def mask_of(storage: Storage, result: SegmentationResult) -> np.ndarray:
    return read_mask(storage.blobs.path(files_of(result)["mask.png"]))


@pytest.mark.parametrize("mpp", [1.0, 0.7])
def test_a_region_has_the_mask_that_the_whole_has_there(storage: Storage, mpp: float) -> None:
    """Tiles and working pixels are the slide's, not the region's; glass is told on the whole slide."""
    image = np.full((900, 1300, 3), (244, 242, 238), np.uint8)
    image[100:740, 500:1140] = artery(640)
    whole = segmented(storage, image, mpp=mpp, uncertainty={"sampler": "none"})
    expected = mask_of(storage, whole)
    assert len(np.unique(expected)) == 4
    for x, y, width, height in ((700, 300, 333, 271), (1299, 899, 1, 1), (513, 77, 640, 3)):
        region = {"x": x, "y": y, "width": width, "height": height}
        part = segmented(storage, image, mpp=mpp, uncertainty={"sampler": "none"}, region=region)
        assert np.array_equal(mask_of(storage, part), expected[y : y + height, x : x + width])
        assert (part.width, part.height) == (width, height)
        assert part.provenance["tile_px"] == whole.provenance["tile_px"]


@pytest.mark.parametrize(("right", "down"), [(64, 32), (17, 41)])
def test_where_the_slide_begins_hardly_matters(storage: Storage, right: int, down: int) -> None:
    """Tiles lie elsewhere then, and nets see other multiples of 32 px: at most 5 pixels of a section in 1,000 change.

    On the glass beside it the shipped net knows less.
    """
    image = np.full((500, 520, 3), (244, 242, 238), np.uint8)
    image[80:400, 100:420] = artery(320)
    none = {"sampler": "none"}
    whole = mask_of(storage, segmented(storage, image, mpp=2.0, uncertainty=none))
    moved = mask_of(storage, segmented(storage, image[down:, right:], mpp=2.0, uncertainty=none))
    assert (whole[80:400, 100:420] == moved[80 - down : 400 - down, 100 - right : 420 - right]).mean() >= 0.995
    assert len(np.unique(moved)) == 4


def test_measures_and_ranges_of_a_region_are_those_of_the_vessel_in_it(storage: Storage) -> None:
    image = np.full((450, 750, 3), (244, 242, 238), np.uint8)
    image[50:370, 300:620] = artery(320)
    few = {"sampler": "ensemble", "passes": 2}
    whole = segmented(storage, image, mpp=2.0, uncertainty=few)
    part = segmented(storage, image, mpp=2.0, uncertainty=few, region={"x": 275, "y": 25, "width": 375, "height": 375})
    assert whole.vessels[0].bounds.x == part.vessels[0].bounds.x + 275
    for known, found in zip(whole.vessels[0].measures, part.vessels[0].measures, strict=True):
        assert found.value == known.value, known.name
        if known.interval is not None:
            assert found.interval is not None
            assert found.interval.low == pytest.approx(known.interval.low, rel=1e-6)
            assert found.interval.high == pytest.approx(known.interval.high, rel=1e-6)


def test_glass_is_not_looked_at_unless_asked_for(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((350, 1900, 3), (244, 242, 238), np.uint8)
    image[15:335, 15:335] = artery(320)
    run: list[int] = []
    real = tiling.to_tile_batch
    monkeypatch.setattr(tiling, "to_tile_batch", lambda images: (run.append(len(images)), real(images))[1])
    skipped = segmented(storage, image, mpp=2.0, uncertainty={"sampler": "none"})
    few = sum(run)
    run.clear()
    everywhere = segmented(storage, image, mpp=2.0, uncertainty={"sampler": "none"}, background="segment")
    assert few < sum(run) / 2
    first, second = mask_of(storage, skipped), mask_of(storage, everywhere)
    assert np.array_equal(first[:, :335], second[:, :335])
    assert not first[:, 500:].any()
    assert skipped.provenance["background"] == "skip"


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


def test_temperature_changes_the_entropy_and_never_the_mask_the_disagreement_or_the_passes() -> None:
    stacked = np.random.default_rng(2).normal(scale=2, size=(12, 12, 20)).astype(np.float32)

    def at(temperature: float) -> dict[str, np.ndarray]:
        with collected(stacked, native=Size(50, 30), temperature=temperature) as maps:
            labels = np.stack([read_whole(raster) for raster in maps.pass_labels])
            named = {"mask": maps.mask, "entropy": maps.entropy, "disagreement": maps.disagreement}
            return {n: read_whole(r) for n, r in named.items()} | {"passes": labels, "overlap": maps.overlap}

    plain, soft, sharp = at(1.0), at(3.0), at(0.4)
    for other in (soft, sharp):
        for name in ("mask", "disagreement", "passes"):
            np.testing.assert_array_equal(plain[name], other[name])
    assert (sharp["entropy"] <= plain["entropy"]).all()
    assert (plain["entropy"] < soft["entropy"]).all()
    mean = np.exp(stacked).reshape(3, 4, 12, 20)
    mean = (mean / mean.sum(1, keepdims=True)).mean(0)
    raised = mean ** (1 / 3) / (mean ** (1 / 3)).sum(0)
    np.testing.assert_allclose(soft["entropy"], -(raised * np.log(raised)).sum(0) / np.log(4), atol=2e-4)
    np.testing.assert_allclose(soft["overlap"][:, 1], raised.sum((1, 2)), rtol=1e-4)


def test_the_shipped_model_has_evidence_and_serves_by_it(storage: Storage) -> None:
    card = publish_default(storage).card
    assert card.evidence is not None
    assert card.evidence.basis == "held-out synthetic phantoms"
    assert card.evidence.subjects >= 24
    assert card.calibration.startswith("held-out synthetic phantoms, ")
    result = sampled(storage, UncertaintySpec())
    assert result.uncertainty is not None
    assert result.provenance["temperature"] == result.uncertainty.temperature == card.evidence.temperature.value
    assert result.uncertainty.review is not None
    assert f"{card.evidence.review.threshold:.3f}" in (result.uncertainty.review_reason or "")
    assert set(result.uncertainty.expected_dice) == {"lumen", "neointima", "media"}
    assert 0.5 < (result.uncertainty.expected_foreground_dice or 0) <= 1
    assert "held-out synthetic phantoms" in result.interval_basis
    measures = [m for v in result.vessels for m in v.measures]
    assert sum(m.interval is not None for m in measures) > 15
    for measure in measures:
        if measure.interval is not None and measure.value is not None:
            assert measure.interval.low <= measure.value <= measure.interval.high
    assert SegmentationResult.model_validate_json(result.model_dump_json(by_alias=True)) == result


def test_without_sampling_there_is_no_interval_whatever_the_card_says(storage: Storage) -> None:
    result = sampled(storage, UncertaintySpec(sampler="none"))
    assert result.interval_basis == "none: one pass"
    assert result.uncertainty is None
    assert all(m.interval is None for v in result.vessels for m in v.measures)


def test_a_model_that_gives_no_numbers_is_said_so() -> None:
    stacked = np.zeros((4, 12, 20), np.float32)
    stacked[1, 5, 5] = np.nan
    with pytest.raises(Invalid, match="not finite") as caught, collected(stacked, native=Size(50, 30)):
        pass
    assert caught.value.code == "model_not_finite"


def test_another_provider_or_background_is_another_segmentation(storage: Storage) -> None:
    version = publish_default(storage)
    info = SlideInfo(format="test", width=320, height=320, levels=1, mpp=2.0, vendor=None)
    slide = StoredSlide(
        id="s", sha256="0" * 64, name="a", info=info, mpp=None, subject=None, created_at="2026-01-01T00:00:00Z"
    )
    usual = SegmentationRequest(model=version.ref)
    everywhere = usual.model_copy(update={"background": "segment"})
    ids = [
        plan_segmentation(slide, version, usual).segmentation,
        plan_segmentation(slide, version, everywhere).segmentation,
        plan_segmentation(slide, version, usual, provider="cuda").segmentation,
        plan_segmentation(slide, version, usual, provider="cuda", fallback=True).segmentation,
    ]
    assert len(set(ids)) == 4
    assert plan_segmentation(slide, version, usual).segmentation == ids[0]


def test_a_slide_too_wide_for_memory_is_refused_when_asked_for(storage: Storage) -> None:
    version = publish_default(storage)
    info = SlideInfo(format="test", width=400_000, height=100, levels=1, mpp=1.5, vendor=None)
    slide = StoredSlide(
        id="s", sha256="0" * 64, name="a", info=info, mpp=None, subject=None, created_at="2026-01-01T00:00:00Z"
    )
    with pytest.raises(Invalid, match="400000 pixels wide") as caught:
        plan_segmentation(slide, version, SegmentationRequest(model=version.ref))
    assert caught.value.code == "too_wide"
