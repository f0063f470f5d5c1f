"""Splits keep subjects apart; plans are complete, ordered and free of leaks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intima.architectures import LITE0, complete_architecture
from intima.contracts.benchmark import (
    BenchmarkSpec,
    EncoderStart,
    FoldPayload,
    Seeds,
    StudyRef,
    TrialPayload,
    UnitPlan,
    keys_read,
)
from intima.contracts.dataset import ClassSpec, Dataset
from intima.contracts.search import Choices
from intima.errors import Invalid
from intima.folds import inner_split, kfold_splits, leave_one_out_splits
from intima.schedule import TRIALS, incomplete_parts, label_architectures, plan_benchmark
from tests.builders import COMPARED, stored_case


def dataset(subjects: int = 9, sections: int = 2) -> Dataset:
    cases = [stored_case(f"images/{s}-{i}.png", f"m{s}") for s in range(subjects) for i in range(sections)]
    classes = (
        ClassSpec(index=0, name="background", color="#000000"),
        ClassSpec(index=1, name="tissue", color="#ff0000"),
    )
    return Dataset(
        id="ds_1", version="2" * 64, name="d", licence="none", classes=classes, cases=tuple(cases), similarity=COMPARED
    )


def plan(data: Dataset | None = None, **fields: Any) -> tuple[UnitPlan, ...]:
    base: dict[str, Any] = {"dataset": "ds_1", "architectures": ["unet"], "protocols": [{"kind": "loocv"}]}
    return plan_benchmark(BenchmarkSpec.model_validate(base | fields), dataset=data or dataset(), benchmark="bm_1")


@given(
    sizes=st.lists(st.integers(1, 4), min_size=3, max_size=12),
    k=st.integers(2, 3),
    repeats=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_no_subject_is_on_both_sides_and_every_case_is_tested_once(
    sizes: list[int], k: int, repeats: int, seed: int
) -> None:
    groups = {f"c{s}.{i}": f"s{s}" for s, n in enumerate(sizes) for i in range(n)}
    for splits, times in (
        (kfold_splits(groups, k=k, repeats=repeats, seed=seed), repeats),
        (leave_one_out_splits(groups), 1),
    ):
        tested = sorted(c for s in splits for c in s.test)
        assert tested == sorted(list(groups) * times)
        for split in splits:
            assert not {groups[c] for c in split.train} & {groups[c] for c in split.test}
            assert sorted(split.train + split.test) == sorted(groups)
            fit, validation = (
                inner_split(groups, cases=split.train, seed=seed)
                if len({groups[c] for c in split.train}) > 1
                else ((), ())
            )
            assert not {groups[c] for c in fit} & {groups[c] for c in validation}
            assert not set(fit + validation) & set(split.test)


def test_repeats_differ_and_the_seed_decides() -> None:
    groups = {f"c{i}": f"s{i}" for i in range(9)}
    splits = kfold_splits(groups, k=3, repeats=2, seed=1)
    assert {s.test for s in splits[:3]} != {s.test for s in splits[3:]}
    assert splits == kfold_splits(groups, k=3, repeats=2, seed=1)
    assert splits != kfold_splits(groups, k=3, repeats=2, seed=2)


def test_the_searches_of_a_leave_one_out_are_not_all_judged_by_the_same_subjects() -> None:
    groups = {f"c{i}": f"s{i}" for i in range(9)}
    held = [frozenset(inner_split(groups, cases=s.train, seed=0)[1]) for s in leave_one_out_splits(groups)]
    assert len(set(held)) >= 8
    assert frozenset().union(*held) == set(groups)


@given(
    trials=st.integers(0, 3),
    nested=st.booleans(),
    publish=st.booleans(),
    seeds=st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True),
)
def test_every_need_stands_before_its_unit(trials: int, nested: bool, publish: bool, seeds: list[int]) -> None:
    units = plan(
        architectures=["unet", "deeplabv3plus"],
        protocols=[{"kind": "loocv"}, {"kind": "kfold", "k": 3}],
        search={"trials": trials, "nested": nested},
        seeds=seeds,
        publish=publish,
    )
    seen: set[str] = set()
    for unit in units:
        assert {*unit.needs, *unit.after} <= seen, unit.key
        assert unit.key not in seen
        seen.add(unit.key)
    folds = [u for u in units if u.kind == "fold"]
    assert len(folds) == 2 * 12 * len(seeds)
    collect = next(u for u in units if u.kind == "collect")
    assert (set(collect.after), collect.needs) == ({u.key for u in folds}, ())
    assert sum(u.kind == "publish" for u in units) == (2 if publish else 0)


@pytest.mark.parametrize("nested", [True, False])
def test_the_scores_table_stands_before_every_final_model_it_does_not_wait_for(nested: bool) -> None:
    units = plan(
        architectures=["unet", "deeplabv3plus"], protocols=[{"kind": "loocv"}], search={"trials": 2, "nested": nested}
    )
    place = next(i for i, u in enumerate(units) if u.kind == "collect")
    awaited, others = units[:place], units[place + 1 :]
    assert {u.kind for u in awaited} == {"trial", "fold"}
    assert {u.kind for u in others} == ({"trial", "fit", "publish"} if nested else {"fit", "publish"})
    assert all("/final/" in u.key for u in others)


def test_a_contender_is_published_on_its_own_folds_and_fits() -> None:
    units = plan(architectures=["unet", "deeplabv3plus"], protocols=[{"kind": "loocv"}], search={"trials": 0})
    for label in ("unet", "deeplabv3plus"):
        own = {u.key for u in units if u.key.startswith(f"{label}/") and u.kind in {"fold", "fit"}}
        published = next(u for u in units if u.key == f"{label}/final/publish")
        assert (set(published.needs), published.after) == (own, ())


def test_what_is_missing_is_told_by_contender_and_protocol() -> None:
    failures = {
        "a/loocv/r0/f1/s0/fold": "diverged: nan",
        "a/loocv/r0/f2/s0/fold": "killed: ...",
        "b/final/member1": "x: y",
        "b/final/publish": "need_failed: ...",
        "b/final/external": "need_failed: ...",
    }
    found = [(p.model, p.protocol, p.missing, p.unit, p.reason) for p in incomplete_parts(failures)]
    assert found == [
        ("a", "loocv", 2, "a/loocv/r0/f1/s0/fold", "diverged: nan"),
        ("b", None, 2, "b/final/member1", "x: y"),
        ("b", "external", 1, "b/final/external", "need_failed: ..."),
    ]


def test_every_seed_draws_its_own_folds_and_all_seeds_are_kept() -> None:
    units = [
        u for u in plan(protocols=[{"kind": "kfold", "k": 3}], seeds=[0, 4], search={"trials": 0}) if u.kind == "fold"
    ]
    folds = [FoldPayload.model_validate(u.payload) for u in units]
    drawn = {seed: {f.split.test for f in folds if f.study.seed == seed} for seed in (0, 4)}
    assert drawn[0] != drawn[4]
    assert all(f.split.seed == f.study.seed for f in folds)
    assert {f.study.seeds for f in folds} == {Seeds(split=s, init=s, augmentation=s) for s in (0, 4)}


def test_what_does_not_vary_keeps_the_first_seed() -> None:
    fixed = plan(protocols=[{"kind": "kfold", "k": 3}], seeds=[7, 4], seeds_vary=["init"], search={"trials": 0})
    folds = [FoldPayload.model_validate(u.payload) for u in fixed if u.kind == "fold"]
    assert len(folds) == 6
    assert len({f.split for f in folds}) == 3
    assert {f.study.seeds for f in folds} == {Seeds(split=7, init=s, augmentation=7) for s in (7, 4)}


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"seeds": [1, 1]}, "seed_twice", "/seeds"),
        ({"protocols": [{"kind": "loocv"}, {"kind": "loocv"}]}, "protocol_twice", "/protocols/1"),
        ({"protocols": [{"kind": "kfold", "k": 3}, {"kind": "kfold", "k": 3}]}, "protocol_twice", "/protocols/1"),
    ],
)
def test_what_tables_could_not_tell_apart_is_refused(fields: dict[str, Any], code: str, pointer: str) -> None:
    with pytest.raises(Invalid) as error:
        plan(**fields)
    assert (error.value.code, error.value.pointer) == (code, pointer)


def test_protocol_names_tell_folds_and_repeats_apart() -> None:
    protocols = [{"kind": "kfold", "k": 3, "repeats": r} for r in (1, 2)] + [{"kind": "kfold", "k": 2}]
    keys = [u.key for u in plan(protocols=protocols, search={"trials": 0}) if u.kind == "fold"]
    assert len(keys) == len(set(keys)) == 3 + 6 + 2
    assert {k.split("/")[1] for k in keys} == {"kfold3", "kfold3x2", "kfold2"}


def test_a_nested_search_never_sees_the_test_subjects() -> None:
    data = dataset()
    subject_of = {c.case: c.subject for c in data.cases}
    units = {u.key: u for u in plan(data, search={"trials": 2})}
    for unit in units.values():
        if unit.kind != "fold":
            continue
        fold = FoldPayload.model_validate(unit.payload)
        assert not fold.selection_biased
        held = {subject_of[c] for c in fold.split.test}
        for need in keys_read(unit.payload):
            trial = TrialPayload.model_validate(units[need].payload)
            assert trial.study.split is not None
            assert not held & {subject_of[c] for c in trial.study.split.train}


def test_a_flat_search_is_labelled() -> None:
    folds = [
        FoldPayload.model_validate(u.payload) for u in plan(search={"trials": 1, "nested": False}) if u.kind == "fold"
    ]
    assert folds
    assert all(f.selection_biased for f in folds)


def test_too_few_subjects_are_refused_with_the_numbers() -> None:
    with pytest.raises(Invalid, match="Got 2 subjects; 3-fold"):
        plan(dataset(subjects=2), protocols=[{"kind": "kfold", "k": 3}])
    with pytest.raises(Invalid, match="Got 2 subjects"):
        plan(dataset(subjects=2), search={"trials": 1})
    assert plan(dataset(subjects=2), search={"trials": 0})


def test_two_contenders_of_one_name_are_told_apart() -> None:
    spec = BenchmarkSpec.model_validate(
        {
            "dataset": "d",
            "architectures": ["unet", {"name": "unet", "encoder": "resnet18"}],
            "protocols": [{"kind": "loocv"}],
        }
    )
    assert list(label_architectures([complete_architecture(a) for a in spec.architectures])) == [
        "unet-tf_efficientnet_lite0-256",
        "unet-resnet18-256",
    ]
    with pytest.raises(Invalid):
        plan(architectures=["unet", "unet"])


def test_an_external_dataset_is_refused_and_not_ignored() -> None:
    with pytest.raises(Invalid) as error:
        plan(external_dataset="ds_2")
    assert error.value.pointer == "/external_dataset"


def behind(units: dict[str, UnitPlan], key: str) -> set[str]:
    """Return every unit that must be done before this one may start."""
    found: set[str] = set()
    waiting = [key]
    while waiting:
        fresh = set(units[waiting.pop()].needs) - found
        found |= fresh
        waiting += fresh
    return found


@pytest.mark.parametrize("parallel", [1, 3, 4, 16])
@pytest.mark.parametrize("nested", [True, False])
def test_what_a_unit_reads_stands_behind_its_needs(parallel: int, nested: bool) -> None:
    search = {"trials": 9, "parallel": parallel, "nested": nested}
    units = {u.key: u for u in plan(dataset(subjects=3), search=search)}
    for unit in units.values():
        assert set(keys_read(unit.payload)) <= behind(units, unit.key), unit.key
        assert len(unit.needs) <= max(parallel, 3) or unit.kind in {"collect", "publish"}
    folds = [u for u in units.values() if u.kind == "fold"]
    assert all(len(keys_read(u.payload)) == 9 for u in folds)


def test_trials_that_run_at_once_do_not_see_each_other() -> None:
    trials = [u for u in plan(search={"trials": 8, "parallel": 3}, publish=False) if u.kind == "trial"][:8]
    assert [len(keys_read(u.payload)) for u in trials] == [0, 0, 0, 1, 2, 3, 4, 5]
    assert [u.needs for u in trials[:3]] == [(), (), ()]


def test_the_paper_preset_fits_on_six_architectures_and_nine_folds() -> None:
    """Dependences grow with the number of trials and not with its square."""
    contenders = [{"name": "unet", "label": f"u{n}"} for n in range(6)]
    units = plan(architectures=contenders, preset="paper", search={"trials": 300})
    assert sum(u.kind == "trial" for u in units) == 6 * 10 * 300
    assert sum(len(u.needs) for u in units) < 2 * len(units)
    assert TRIALS["paper"] == 200


def test_short_searches_are_not_judged_on_the_way() -> None:
    for trials, pruner in ((6, "none"), (7, "median")):
        wanted = plan(search={"trials": trials, "pruner": "median"})
        first = next(u for u in wanted if u.kind == "trial")
        assert TrialPayload.model_validate(first.payload).pruner == pruner


def test_the_space_is_checked_and_completed_at_submission() -> None:
    space = {"encoder": {"choices": ["resnet18", "resnet34"]}}
    unit = next(u for u in plan(search={"space": space, "trials": 1}) if u.kind == "fold")
    study = FoldPayload.model_validate(unit.payload).study
    assert study.space["encoder"] == Choices(choices=("resnet18", "resnet34"), default="resnet18")
    for bad, pointer in (
        ({"nonsense": {"low": 0, "high": 1}}, "nonsense"),
        ({"prompt_tokens": {"low": 2, "high": 4}}, "prompt_tokens"),
    ):
        with pytest.raises(Invalid) as error:
            plan(search={"space": bad})
        assert error.value.pointer == f"/search/space/{pointer}"


def test_every_payload_holds_the_start_weights_that_were_resolved() -> None:
    def start(file: str) -> EncoderStart:
        return EncoderStart(kind="imagenet", origin=file, licence="BSD", file=file, sha256="1" * 64)

    starts = {"unet": {LITE0: start("lite0.pth"), "resnet18": start("resnet18.pth")}}
    search = {"trials": 1, "space": {"encoder": {"choices": [LITE0, "resnet18"]}}}
    body = {"dataset": "ds_1", "architectures": ["unet"], "protocols": [{"kind": "loocv"}], "search": search}
    units = plan_benchmark(BenchmarkSpec.model_validate(body), dataset=dataset(), benchmark="bm_1", starts=starts)
    assert {u.kind for u in units} == {"trial", "fold", "fit", "publish", "collect"}
    for unit in units:
        if unit.kind != "collect":
            study = StudyRef.model_validate(unit.payload["study"])
            assert study.architecture.weights == "imagenet"
            assert study.starts == starts["unet"]
