"""The units of a benchmark, run in the order of their plan on tiny images: results, refusals, determinism."""

import copy
import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import softmax

from intima import benchmark, registry
from intima.architectures import LITE0
from intima.architectures.sources import resolve_start
from intima.arrays import Json
from intima.benchmark import recipe
from intima.benchmark.external import as_ensemble
from intima.benchmark.held_out import pool_folds
from intima.benchmark.recipe import make_recipe, seeds_for
from intima.contracts.benchmark import (
    ArchitectureSpec,
    BenchmarkSpec,
    CollectResult,
    FitPayload,
    FoldPayload,
    FoldResult,
    PublishResult,
    TrialResult,
    UnitPlan,
    keys_read,
)
from intima.contracts.dataset import ClassSpec, Dataset, StoredCase
from intima.contracts.model import ModelCard
from intima.contracts.segmentation import SegmentationRequest, SegmentationResult, SlideInfo
from intima.errors import Invalid
from intima.geometry import Size
from intima.inference import load_model, load_onnx
from intima.labels import ARTERY
from intima.leakage import External
from intima.resampling import resample_image
from intima.schedule import plan_benchmark
from intima.segmentation import plan_segmentation, segment_slide
from intima.slides.memory import slide_from_image
from intima.store import catalog
from intima.store.catalog import StoredSlide
from intima.store.storage import Storage, open_storage
from intima.store.work import UnitInput
from intima.training import presets
from intima.training.presets import LoopSettings
from intima.training.scoring import Tiling, predict_mask
from intima.training.search import default_parameters
from tests.builders import COMPARED

HANDLERS = {
    "trial": benchmark.run_trial,
    "fold": benchmark.run_fold,
    "fit": benchmark.run_fit,
    "external": benchmark.run_external,
    "publish": benchmark.run_publish,
    "collect": benchmark.run_collect,
}
NATIVE = Size(150, 120)
COLORS = np.array([[230, 225, 220], [250, 250, 250], [200, 120, 150], [120, 60, 40]])


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def artery(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: NATIVE.height, : NATIVE.width]
    radius = np.hypot(x - rng.uniform(65, 85), y - rng.uniform(55, 65))
    mask = np.select([radius < 18, radius < 30, radius < 42], [1, 2, 3], 0).astype(np.uint8)
    image = np.clip(COLORS[mask] + rng.normal(0, 8, (*mask.shape, 3)), 0, 255).astype(np.uint8)
    return image, mask


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Storage:
    storage = open_storage(tmp_path_factory.mktemp("store"))
    yield storage
    storage.close()


@pytest.fixture(scope="module")
def dataset(storage) -> Dataset:
    cases = []
    for number in range(5):
        image, mask = artery(number)
        cases.append(
            StoredCase(
                case=f"c{number}.png",
                subject=f"s{number // 2 if number < 4 else 9}",
                block=None,
                section=None,
                mpp=0.5,
                width=NATIVE.width,
                height=NATIVE.height,
                image_sha256=storage.blobs.put(png(image)),
                mask_sha256=storage.blobs.put(png(mask)),
            )
        )
    classes = tuple(ClassSpec(index=c.index, name=c.name, color=c.color) for c in ARTERY.classes)
    made = Dataset(
        id="ds_test",
        version="1" * 64,
        name="Synthetic rings",
        licence="CC0-1.0",
        classes=classes,
        cases=tuple(cases),
        similarity=COMPARED,
    )
    with storage.writing() as connection:
        catalog.add_dataset(connection, made)
    return made


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Train for a few steps only."""
    monkeypatch.setitem(presets.PRESETS, "quick", LoopSettings(steps=12, batch=4, crop_px=64, norm_steps=3))


def spec(**changes) -> BenchmarkSpec:
    body = {
        "dataset": "ds_test",
        "architectures": [{"name": "unet_small", "input_px": 96, "label": "small"}],
        "protocols": [{"kind": "kfold", "k": 3}],
        "search": {"trials": 1},
        "members": 2,
    }
    return BenchmarkSpec.model_validate({**body, **changes})


def run_units(storage: Storage, dataset: Dataset, wanted: BenchmarkSpec) -> dict[str, Json]:
    results: dict[str, Json] = {}
    for unit in plan_benchmark(wanted, dataset=dataset, benchmark="bm_1"):
        work = UnitInput("job_1", unit.key, 1, dict(unit.payload), inputs(unit, results))
        results[unit.key] = through_json(HANDLERS[unit.kind](work, storage, lambda *_: None))
    return results


def inputs(unit: UnitPlan, results: dict[str, Json]) -> dict[str, Json]:
    """Return what the ledger gives a unit: what it needs, comes after, and reads behind those, where it is done."""
    wanted = (*unit.needs, *unit.after, *keys_read(unit.payload))
    return {key: results[key] for key in wanted if key in results}


def through_json(result: Json) -> Json:
    """Results travel as JSON without NaN."""
    return json.loads(json.dumps(result, allow_nan=False))


@pytest.fixture(scope="module")
def finished(storage, dataset) -> dict[str, Json]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "quick", LoopSettings(steps=12, batch=4, crop_px=64, norm_steps=3))
        return run_units(storage, dataset, spec())


def test_every_case_is_scored_once_at_its_native_resolution(finished, dataset):
    folds = [FoldResult.model_validate(r) for k, r in finished.items() if k.endswith("/fold")]
    rows = [row for fold in folds for row in fold.rows]
    macro = [r for r in rows if (r.metric, r.class_) == ("dice", "macro")]
    assert sorted(r.case for r in macro) == sorted(c.case for c in dataset.cases)
    assert {r.unit for r in rows if r.metric == "hd95"} == {"µm"}
    assert {r.metric for r in rows} >= {"dice", "iou", "hd95", "nsd", "area_error", "im_error", "stenosis_error"}
    assert all(r.model == "small" and r.architecture == "unet_small" for r in rows)
    assert not any(r.selection_biased for r in rows)
    assert np.mean([r.value for r in macro]) > 0.6


def test_folds_and_fits_keep_their_loss(finished):
    kept = {k: r["losses"] for k, r in finished.items() if k.endswith("/fold") or "/member" in k}
    assert len(kept) == 5
    for losses in kept.values():
        assert [p["step"] for p in losses] == list(range(1, 13))
        assert all(0 < p["loss"] < 100 for p in losses)


def test_collect_writes_one_table_of_all_rows(finished, storage):
    collected = CollectResult.model_validate(finished["collect"])
    table = list(csv.DictReader(io.StringIO(storage.blobs.read(collected.scores_sha256).decode())))
    count = sum(len(r["rows"]) for k, r in finished.items() if k.endswith("/fold"))
    assert len(table) == count
    (entry,) = collected.leaderboard
    assert (entry.model, entry.protocol, entry.n_subjects) == ("small", "kfold3", 3)


def test_a_contender_that_lacks_a_fold_is_told_and_has_no_rank_but_keeps_its_scores(finished, storage, dataset):
    contenders = [{"name": "unet_small", "input_px": 96, "label": label} for label in ("small", "twin")]
    wanted = spec(architectures=contenders, external_dataset=None)
    unit = next(u for u in plan_benchmark(wanted, dataset=dataset, benchmark="bm_1") if u.key == "collect")
    results, failures = {}, {}
    for key in unit.after:
        label, rest = key.split("/", 1)
        if label == "twin" and "/f1/" in rest:
            failures[key] = "diverged: The loss became nan at step 1."
            continue
        results[key] = copy.deepcopy(finished[f"small/{rest}"])
        for row in results[key]["rows"]:
            row["model"] = label
    work = UnitInput("job_1", "collect", 1, dict(unit.payload), results, failures)
    collected = CollectResult.model_validate(through_json(benchmark.run_collect(work, storage, lambda *_: None)))
    (part,) = collected.incomplete
    assert (part.model, part.protocol, part.missing) == ("twin", "kfold3", 1)
    assert (part.unit, part.reason) == ("twin/kfold3/r0/f1/s0/fold", "diverged: The loss became nan at step 1.")
    assert {e.model for e in collected.leaderboard} == {"small"} == {n.model for n in collected.hpo_noise}
    table = list(csv.DictReader(io.StringIO(storage.blobs.read(collected.scores_sha256).decode())))
    assert {(r["model"], r["fold"]) for r in table} == {("small", f) for f in "012"} | {("twin", f) for f in "02"}
    with pytest.raises(Invalid, match="No fold of any contender"):
        benchmark.run_collect(UnitInput("j", "collect", 1, dict(unit.payload), {}, failures), storage, lambda *_: None)


def test_the_published_model_is_what_was_trained(finished, storage, dataset):
    published = PublishResult.model_validate(finished["small/final/publish"])
    assert 0 <= published.parity_max_abs < 1e-3
    card = registry.resolve(storage, published.model).card
    assert card.name == "synthetic-rings-small"
    assert card.synthetic
    assert card.mpp == pytest.approx(0.5 * 150 / 96)
    assert len({m.onnx_sha256 for m in card.members}) == 2
    assert len({m.seed for m in card.members}) == 2
    assert card.scores[0].n_subjects == 3
    assert "imagenet" in card.encoder_weights
    assert [m.sha256 for m in card.files("fp32")] == [m.onnx_sha256 for m in card.members]
    assert {*card.precisions, *(left.precision for left in card.left_out)} == {"fp32", "fp16", "int8"}
    assert card.variants[0].parity.max_abs == published.parity_max_abs
    assert all(storage.blobs.size(m.sha256) == m.bytes for v in card.variants for m in v.members)
    assert card.cost.flops > 1e8
    assert [item.precision for item in card.latency] == list(card.precisions)
    image, mask = artery(77)
    working = resample_image(image, NATIVE.scaled(0.5 / card.mpp))
    net = load_onnx(storage.blobs.read(card.members[0].onnx_sha256)).predict
    predicted = predict_mask(working, net, size=NATIVE, tiling=Tiling(card.tile_px, card.halo_px))
    assert (predicted == mask).mean() > 0.8


def test_the_card_carries_what_the_folds_saw_and_serving_uses_it(finished, storage, dataset):
    """Every case once, by the net that has not seen it; the model serves with temperature and prediction intervals."""
    folds = [FoldResult.model_validate(r) for k, r in finished.items() if k.endswith("/fold")]
    seen = [c for fold in folds for c in fold.evidence]
    assert sorted(c.case for c in seen) == sorted(c.case for c in dataset.cases)
    assert all(c.passes == 8 for c in seen)
    assert not any("evidence" in r for k, r in finished.items() if "/trial" in k)
    card = registry.resolve(storage, PublishResult.model_validate(finished["small/final/publish"]).model).card
    evidence = card.evidence
    assert (evidence.basis, evidence.subjects, evidence.cases, evidence.members) == ("out-of-fold", 3, 5, 1)
    assert evidence == pool_folds(folds)
    assert card.calibration.startswith("out-of-fold, 3 subjects: ECE ")
    assert ModelCard.model_validate_json(card.model_dump_json(by_alias=True)) == card
    image, _ = artery(77)
    result = served(storage, finished["small/final/publish"]["model"], image)
    assert result.uncertainty.temperature == evidence.temperature.value == result.provenance["temperature"]
    assert result.uncertainty.calibration == card.calibration
    assert "90% prediction interval" in result.interval_basis
    assert "out-of-fold" in result.interval_basis
    known = {r.name for r in evidence.residuals if r.base is not None}
    given = {m.name for v in result.vessels for m in v.measures if m.interval is not None}
    assert known >= {"lumen_area", "stenosis"}
    assert given
    assert given <= known
    for measure in (m for v in result.vessels for m in v.measures if m.interval is not None):
        assert measure.interval.low <= measure.value <= measure.interval.high
    assert isinstance(result.uncertainty.review, bool)
    assert "3 held-out subjects are too few" in result.uncertainty.review_reason


def served(storage: Storage, ref: str, image: np.ndarray) -> SegmentationResult:
    height, width = image.shape[:2]
    info = SlideInfo(format="test", width=width, height=height, levels=1, mpp=0.5, vendor=None)
    stored = StoredSlide("s", "0" * 64, "artery", info, None, None, "2026-01-01T00:00:00Z")
    payload = plan_segmentation(stored, registry.resolve(storage, ref), SegmentationRequest(model=ref))
    result = segment_slide(
        slide_from_image(image, info),
        storage,
        payload=payload,
        model=load_model(storage, ref),
        report=lambda *_: None,
    )
    return SegmentationResult.model_validate(through_json(result.model_dump(mode="json", by_alias=True)))


def test_folds_of_earlier_versions_publish_a_card_without_evidence(finished, storage, dataset):
    behind = {k: {f: v for f, v in r.items() if f != "evidence"} for k, r in finished.items()}
    unit = next(u for u in plan_benchmark(spec(), dataset=dataset, benchmark="bm_1") if u.kind == "publish")
    ref = run_publish(unit, behind, storage).model
    card = registry.resolve(storage, ref).card
    assert card.evidence is None
    assert card.calibration == "not measured"
    result = served(storage, ref, artery(77)[0])
    assert "not calibrated" in result.interval_basis
    assert result.uncertainty.temperature == 1.0


def test_of_several_protocols_the_one_that_trains_on_most_subjects_counts(finished):
    folds = [FoldResult.model_validate(r) for k, r in finished.items() if k.endswith("/fold")]
    other = [
        fold.model_copy(
            update={
                "train_subjects": fold.train_subjects + 1,
                "rows": tuple(row.model_copy(update={"protocol": "loocv"}) for row in fold.rows),
            }
        )
        for fold in folds
    ]
    assert pool_folds([*folds, *other]).protocol == "loocv"
    assert pool_folds([*folds, *other]).cases == 5
    assert pool_folds([]) is None


def test_the_card_says_what_the_members_started_from_when_they_were_trained(finished, storage, dataset, monkeypatch):
    """Not what lies in the folder of weights when the model is published."""
    monkeypatch.setattr(recipe, "find_weights", None)
    units = {u.key: u for u in plan_benchmark(spec(), dataset=dataset, benchmark="bm_1")}
    unit = units["small/final/publish"]
    behind = inputs(unit, finished)
    for key in (k for k in behind if "/member" in k):
        assert behind[key]["start"]["kind"] == "imagenet"
        behind[key] = behind[key] | {"start": behind[key]["start"] | {"origin": "imagenet (then)", "licence": "then"}}
    published = run_publish(unit, behind, storage)
    card = registry.resolve(storage, published.model).card
    assert (card.encoder_weights, card.weights_licence) == ("imagenet (then)", "then")
    member = "small/final/member1"
    behind[member] = behind[member] | {"start": behind[member]["start"] | {"sha256": "0" * 64}}
    with pytest.raises(Invalid, match="did not start from the same encoder weights"):
        run_publish(unit, behind, storage)


def run_publish(unit: UnitPlan, behind: dict[str, Json], storage: Storage) -> PublishResult:
    work = UnitInput("job_9", unit.key, 1, dict(unit.payload), behind)
    return PublishResult.model_validate(benchmark.run_publish(work, storage, lambda *_: None))


@pytest.mark.parametrize("kind", ["trial", "fold", "fit"])
def test_a_unit_refuses_other_weights_than_the_benchmark_was_submitted_with(kind, storage, dataset, finished):
    known = resolve_start(ArchitectureSpec(name="unet_small"), folder=storage.weights_folder)
    starts = {"small": {LITE0: known.model_copy(update={"sha256": "0" * 64})}}
    planned = plan_benchmark(spec(), dataset=dataset, benchmark="bm_1", starts=starts)
    unit = next(u for u in planned if u.kind == kind)
    work = UnitInput("job_3", unit.key, 1, dict(unit.payload), inputs(unit, finished))
    with pytest.raises(Invalid, match=f"SHA-256 {known.sha256}; this benchmark was submitted with 0000") as caught:
        HANDLERS[kind](work, storage, lambda *_: None)
    assert caught.value.code == "weights_changed"


def test_a_random_frozen_encoder_is_one_for_all_trainings_of_a_seed(storage, dataset, monkeypatch):
    """Else every trial would search on top of another encoder, and no embedding could be used twice."""
    monkeypatch.setattr(recipe, "fit", lambda net, *_, **__: net)
    frozen = {"name": "unet_small", "input_px": 96, "weights": "random", "encoder_training": "frozen"}
    units = plan_benchmark(spec(architectures=[frozen], seeds=[0, 1]), dataset=dataset, benchmark="b")
    studies = {s.seed: s for u in units if u.kind == "fold" for s in [FoldPayload.model_validate(u.payload).study]}
    cases = [c.case for c in dataset.cases[:1]]

    def encoder(seed: int, number: int) -> torch.Tensor:
        study = studies[seed]
        made = make_recipe(dataset, study, settings=presets.PRESETS["quick"], parameters={})
        drawn = seeds_for("trial", study, number)
        net = recipe.train_net(storage, made, cases=cases, seeds=drawn, report=lambda *_: None)
        return torch.cat([p.flatten() for p in net.encoder.parameters()])

    assert torch.equal(encoder(0, 0), encoder(0, 1))
    assert not torch.equal(encoder(0, 0), encoder(1, 0))


def test_rows_say_what_the_encoder_started_from(finished):
    rows = [row for k, r in finished.items() if k.endswith("/fold") for row in r["rows"]]
    assert {row["encoder_weights"] for row in rows} == {"imagenet"}


def test_a_second_attempt_gives_the_same_result(finished, storage, dataset):
    units = {u.key: u for u in plan_benchmark(spec(), dataset=dataset, benchmark="bm_1")}
    for key in ("small/kfold3/r0/f1/s0/fold", "small/final/member0", "small/final/publish"):
        unit = units[key]
        torch.manual_seed(99)
        work = UnitInput("job_2", key, 3, dict(unit.payload), inputs(unit, finished))
        again = through_json(HANDLERS[unit.kind](work, storage, lambda *_: None))
        assert {**again, "seconds": 0} == {**finished[key], "seconds": 0}


def test_progress_goes_up_to_the_end_and_says_what_is_done(storage, dataset):
    unit = next(u for u in plan_benchmark(spec(), dataset=dataset, benchmark="b") if u.kind == "trial")
    told: list[tuple[float, str]] = []
    benchmark.run_trial(UnitInput("j", unit.key, 1, dict(unit.payload), {}), storage, lambda f, m: told.append((f, m)))
    assert [f for f, _ in told] == sorted(f for f, _ in told)
    assert told[-1][0] == pytest.approx(1.0)
    assert any("loss" in m for _, m in told)
    assert "scored" in told[-1][1]


def trial_unit(dataset: Dataset, number: int, **changes) -> UnitInput:
    wanted = spec(search={"trials": 3, **changes})
    unit = [u for u in plan_benchmark(wanted, dataset=dataset, benchmark="b") if u.kind == "trial"][number]
    earlier = {k: trial_result(0.1 * i, seconds=30.0) for i, k in enumerate(keys_read(unit.payload))}
    return UnitInput("j", unit.key, 1, dict(unit.payload), earlier)


def trial_result(value: float, *, seconds: float) -> Json:
    chosen = TrialResult(parameters=default_parameters("unet_small"), value=value, seconds=seconds)
    return chosen.model_dump(mode="json")


def test_a_trial_beyond_the_time_budget_is_skipped(storage, dataset):
    result = TrialResult.model_validate(
        benchmark.run_trial(trial_unit(dataset, 2, minutes=1.0), storage, lambda *_: None)
    )
    assert result.value is None
    assert result.parameters == {}
    assert result.seconds < 1


def test_a_diverging_trial_scores_zero(storage, dataset, monkeypatch):
    def diverge(*_args, **_kwargs):
        raise Invalid("The loss became nan at step 1.", code="diverged")

    monkeypatch.setattr(recipe, "fit", diverge)
    result = TrialResult.model_validate(benchmark.run_trial(trial_unit(dataset, 1), storage, lambda *_: None))
    assert result.value == 0.0


def test_a_trial_is_judged_at_its_rungs_and_stopped_where_it_is_hopeless(storage, dataset):
    wanted = spec(search={"trials": 7, "pruner": "median"})
    unit = [u for u in plan_benchmark(wanted, dataset=dataset, benchmark="b") if u.kind == "trial"][5]
    for others, fate in ((0.99, True), (0.0, False)):
        curve = [{"step": s, "value": others} for s in (4, 8, 12)]
        earlier = {k: {**trial_result(others, seconds=1.0), "curve": curve} for k in keys_read(unit.payload)}
        work = UnitInput("j", unit.key, 1, dict(unit.payload), earlier)
        told: list[float] = []
        result = TrialResult.model_validate(benchmark.run_trial(work, storage, lambda f, _m, told=told: told.append(f)))
        assert result.pruned is fate
        assert [p.step for p in result.curve] == ([4] if fate else [4, 8, 12])
        assert result.value == (None if fate else result.curve[-1].value)
        assert told == sorted(told)


def test_a_searched_encoder_and_input_are_what_is_trained_and_what_the_card_says(finished, storage, dataset):
    space = {"encoder": {"choices": ["resnet18"]}, "input_px": {"choices": [64]}, "batch": {"choices": [2]}}
    contender = {"name": "unet_small", "input_px": 96, "weights": "random", "label": "small"}
    wanted = spec(architectures=[contender], search={"trials": 0, "space": space}, members=1)
    units = {u.key: u for u in plan_benchmark(wanted, dataset=dataset, benchmark="b")}
    results = {key: found for key, found in finished.items() if key.endswith("/fold")}
    for key in ("small/final/member0", "small/final/publish"):
        work = UnitInput("j", key, 1, dict(units[key].payload), inputs(units[key], results))
        results[key] = through_json(HANDLERS[units[key].kind](work, storage, lambda *_: None))
    card = registry.resolve(storage, PublishResult.model_validate(results["small/final/publish"]).model).card
    assert (card.architecture.encoder, card.architecture.input_px) == ("resnet18", 64)
    assert card.parameters["encoder"] == "resnet18"
    assert card.mpp == pytest.approx(0.5 * 150 / 64)
    study = FitPayload.model_validate(units["small/final/member0"].payload).study
    made = make_recipe(dataset, study, settings=presets.PRESETS["quick"], parameters={"batch": 2})
    assert made.settings.batch == 2


def test_the_audit_compares_the_winner_inside_with_the_same_net_outside(finished):
    (noise,) = CollectResult.model_validate(finished["collect"]).hpo_noise
    assert (noise.model, noise.protocol, noise.optimistic) == ("small", "kfold3", False)
    folds = [FoldResult.model_validate(r) for k, r in finished.items() if k.endswith("/fold")]
    trials = [TrialResult.model_validate(r) for k, r in finished.items() if "/trial" in k and "kfold" in k]
    assert all(f.search.trials == 1 and "need 20" in f.search.reason for f in folds)
    assert [f.search.outer_value for f in folds] == [t.outer_value for t in trials]
    assert noise.selection.mean == pytest.approx(np.mean([t.value - t.outer_value for t in trials]))
    for gap in (noise.selection, noise.refitted):
        assert gap.splits == 3
        assert gap.ci95_corrected[0] < gap.ci95[0] < gap.mean < gap.ci95[1] < gap.ci95_corrected[1]


def test_a_study_of_all_data_has_no_outer_score(finished, storage, dataset):
    final = [r for k, r in finished.items() if k.startswith("small/final/trial")]
    assert [r["outer_value"] for r in final] == [None]
    units = plan_benchmark(spec(search={"trials": 1, "nested": False}), dataset=dataset, benchmark="b")
    results = dict(zip(("small/final/trial0",), final, strict=True))
    unit = next(u for u in units if u.kind == "fold")
    result = benchmark.run_fold(UnitInput("j", unit.key, 1, dict(unit.payload), results), storage, lambda *_: None)
    assert result["search"]["outer_value"] is None


def test_other_errors_of_a_trial_are_not_hidden(storage, dataset, monkeypatch):
    def fail(*_args, **_kwargs):
        raise Invalid("Something else.")

    monkeypatch.setattr(recipe, "fit", fail)
    with pytest.raises(Invalid, match="Something else"):
        benchmark.run_trial(trial_unit(dataset, 1), storage, lambda *_: None)


def test_a_fold_takes_the_best_parameters_and_a_flat_search_is_marked(storage, dataset):
    wanted = spec(search={"trials": 2, "nested": False})
    unit = next(u for u in plan_benchmark(wanted, dataset=dataset, benchmark="b") if u.kind == "fold")
    best = {**default_parameters("unet_small"), "dropout": 0.25}
    poor, good = trial_result(0.2, seconds=1), {**trial_result(0.9, seconds=1), "parameters": best}
    work = UnitInput(
        "j", unit.key, 1, dict(unit.payload), dict(zip(keys_read(unit.payload), (poor, good), strict=True))
    )
    result = FoldResult.model_validate(benchmark.run_fold(work, storage, lambda *_: None))
    assert result.parameters == best
    assert all(row.selection_biased for row in result.rows)


def test_publishing_without_members_or_scores_is_refused(finished, storage, dataset):
    unit = next(u for u in plan_benchmark(spec(), dataset=dataset, benchmark="b") if u.kind == "publish")
    for given, says in (({}, "at least one fit"), ({fit: finished[fit] for fit in unit.needs[:2]}, "need its folds")):
        with pytest.raises(Invalid, match=says):
            benchmark.run_publish(UnitInput("j", unit.key, 1, dict(unit.payload), given), storage, lambda *_: None)


def test_contenders_of_one_fold_share_their_seed_and_splits_do_not(dataset):
    two = spec(architectures=[{"name": "unet_small"}, {"name": "deeplabv3plus"}])
    plans = [u for u in plan_benchmark(two, dataset=dataset, benchmark="b") if u.kind == "fold"]
    studies = [FoldPayload.model_validate(u.payload).study for u in plans]
    drawn = [seeds_for("fold", s) for s in studies]
    assert drawn[:3] == drawn[3:]
    assert len(set(drawn)) == 3
    assert all(d.init == d.augmentation for d in drawn)


def test_what_does_not_vary_keeps_its_seed_in_training(dataset):
    fixed = spec(seeds=[0, 1], seeds_vary=["init"])
    plans = [u for u in plan_benchmark(fixed, dataset=dataset, benchmark="b") if u.kind == "fold"]
    first, second = (seeds_for("fold", FoldPayload.model_validate(u.payload).study) for u in plans if "/f0/" in u.key)
    assert first.augmentation == second.augmentation
    assert first.init != second.init


def test_nothing_of_a_test_case_decides_the_training(storage, dataset):
    """The working resolution of a fold comes from its training cases: another test image must not move it."""
    unit = next(u for u in plan_benchmark(spec(), dataset=dataset, benchmark="b") if u.kind == "fold")
    payload = FoldPayload.model_validate(unit.payload)
    held = set(payload.split.test)
    larger = tuple(c.model_copy(update={"width": 5000, "mpp": 9.0}) if c.case in held else c for c in dataset.cases)
    one, two = (
        make_recipe(d, payload.study, settings=presets.PRESETS["quick"], parameters={}).resolution
        for d in (dataset, dataset.model_copy(update={"cases": larger}))
    )
    assert one == two


@pytest.fixture(scope="module")
def external(storage, dataset) -> Dataset:
    """Two more subjects, at another pixel size."""
    cases = []
    for number in (20, 21):
        image, mask = artery(number)
        stored = {"image_sha256": storage.blobs.put(png(image)), "mask_sha256": storage.blobs.put(png(mask))}
        update = {"case": f"e{number}.png", "subject": f"e{number}", "mpp": 0.6, **stored}
        cases.append(dataset.cases[0].model_copy(update=update))
    made = dataset.model_copy(update={"id": "ds_outside", "version": "2" * 64, "cases": tuple(cases)})
    with storage.writing() as connection:
        catalog.add_dataset(connection, made)
    return made


def test_the_final_ensemble_is_scored_on_the_external_dataset(finished, storage, dataset, external):
    wanted = spec(external_dataset="ds_outside")
    units = plan_benchmark(wanted, dataset=dataset, benchmark="bm_1", external=External(external))
    results = dict(finished)
    for unit in units:
        if unit.kind == "external" or unit.key == "collect":
            work = UnitInput("job_1", unit.key, 1, dict(unit.payload), inputs(unit, results))
            results[unit.key] = through_json(HANDLERS[unit.kind](work, storage, lambda *_: None))
    collected = CollectResult.model_validate(results["collect"])
    table = list(csv.DictReader(io.StringIO(storage.blobs.read(collected.scores_sha256).decode())))
    outside = [r for r in table if r["protocol"] == "external" and (r["metric"], r["class"]) == ("dice", "macro")]
    assert [(r["model"], r["case"]) for r in outside] == [("small", "e20.png"), ("small", "e21.png")]
    assert np.mean([float(r["value"]) for r in outside]) > 0.6
    assert {r["split_seed"] for r in outside} == {""}
    assert {e.protocol: e.n_subjects for e in collected.leaderboard} == {"external": 2, "kfold3": 3}
    (agreement,) = collected.external
    assert (agreement.protocol, agreement.kendall_tau) == ("kfold3", None)
    assert "an order needs 2" in agreement.reason


def test_an_ensemble_is_the_mean_of_its_members_probabilities():
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(2, 3, 4, 4)).astype(np.float32) for _ in range(3)]
    together = as_ensemble([lambda _, one=one: one for one in logits])(np.zeros((2, 3, 4, 4), np.float32))
    assert np.allclose(softmax(together, axis=1), np.mean([softmax(one, axis=1) for one in logits], axis=0), atol=1e-6)


def test_blobs_are_named_in_results_not_carried(finished):
    assert all(len(json.dumps(r)) < 100_000 for r in finished.values())


def test_a_trial_is_judged_after_a_share_of_the_steps():
    settings = LoopSettings(steps=300, batch=8, crop_px=192, trial_share=1 / 3)
    assert settings.for_trial().steps == 100
    assert settings.for_trial().crop_px == 192
    assert LoopSettings(steps=1, batch=1, crop_px=32, trial_share=0.1).for_trial().steps == 1
