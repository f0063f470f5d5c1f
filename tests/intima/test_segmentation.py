"""Served masks are the scored ones."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from intima.contracts.segmentation import SegmentationRequest, SegmentationResult, SlideInfo, UncertaintySpec
from intima.geometry import Region, Size
from intima.inference import load_model
from intima.phantom import draw_specs, render
from intima.registry import publish_default
from intima.segmentation import Frame, SegmentedSlide, collect_strips, plan_segmentation, segment_slide
from intima.slides.memory import slide_from_image
from intima.store.catalog import StoredSlide
from intima.store.storage import Storage, open_storage
from intima.tiling import upsample_logits


def collected(stacked: np.ndarray, *, native: Size, rows: int = 5) -> np.ndarray:
    """The mask of stacked logits (passes * 4 classes, height, width) that come in strips."""
    height, width = stacked.shape[1:]
    frame = Frame(region=Region(0, 0, native.width, native.height), working=Size(width, height), scale=0.4, mpp=None)
    strips = ((top, stacked[:, top : top + rows]) for top in range(0, height, rows))
    return collect_strips(strips, frame=frame, classes=4, report=lambda _fraction, _message: None).mask


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


def test_temperature_changes_the_entropy_and_never_the_mask_the_disagreement_or_the_passes() -> None:
    stacked = np.random.default_rng(2).normal(scale=2, size=(12, 12, 20)).astype(np.float32)
    frame = Frame(region=Region(0, 0, 50, 30), working=Size(20, 12), scale=0.4, mpp=None)

    def at(temperature: float) -> SegmentedSlide:
        strips = iter([(0, stacked[:, :7]), (7, stacked[:, 7:])])
        return collect_strips(
            strips, frame=frame, classes=4, report=lambda _fraction, _message: None, temperature=temperature
        )

    plain, soft, sharp = at(1.0), at(3.0), at(0.4)
    for other in (soft, sharp):
        np.testing.assert_array_equal(plain.mask, other.mask)
        np.testing.assert_array_equal(plain.disagreement, other.disagreement)
        np.testing.assert_array_equal(plain.pass_labels, other.pass_labels)
    assert (sharp.entropy < plain.entropy).all()
    assert (plain.entropy < soft.entropy).all()
    mean = (np.exp(stacked) / 1).reshape(3, 4, 12, 20)
    mean = (mean / mean.sum(1, keepdims=True)).mean(0)
    raised = mean ** (1 / 3) / (mean ** (1 / 3)).sum(0)
    np.testing.assert_allclose(soft.entropy, -(raised * np.log(raised)).sum(0) / np.log(4), rtol=1e-4)
    np.testing.assert_allclose(soft.overlap[:, 1], raised.sum((1, 2)), rtol=1e-4)


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
