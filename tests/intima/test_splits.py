"""Splits from outside: four forms, what is filled in, what is refused and where, export and import again."""

from typing import Any

import pytest

from intima.contracts.benchmark import BenchmarkSpec
from intima.contracts.dataset import ClassSpec, Dataset
from intima.contracts.splits import SplitUpload, StoredSplits
from intima.errors import Invalid
from intima.folds import outer_splits
from intima.splits import check_splits, export_splits
from tests.builders import stored_case

SHA = "a" * 64
CASES = ("a1", "a2", "b1", "c1")


def dataset() -> Dataset:
    cases = [stored_case(name, name[0], mpp=None, px=8) for name in CASES]
    classes = tuple(ClassSpec(index=i, name=n, color="#000000") for i, n in enumerate(("background", "tissue")))
    return Dataset(id="dst_1", version=SHA, name="d", licence="none", classes=classes, cases=tuple(cases))


def check(**body: Any) -> StoredSplits:
    upload = SplitUpload.model_validate({"name": "clinic"} | body)
    return check_splits(upload, dataset=dataset(), splits_id="spl_1", sha256=SHA)


def sides(stored: StoredSplits) -> list[tuple[int, int, tuple[str, ...], tuple[str, ...]]]:
    return [(s.repeat, s.fold, s.train, s.test) for s in stored.splits]


WHOLE = [(0, 0, ("b1", "c1"), ("a1", "a2")), (0, 1, ("a1", "a2"), ("b1", "c1"))]


@pytest.mark.parametrize(
    "body",
    [
        {"folds": [["a2", "a1"], ["b1", "c1"]]},
        {"subjects": {"a": 0, "b": 1, "c": 1}},
        {"splits": [{"train": ["b1", "c1"], "test": ["a1", "a2"]}, {"train": ["a1", "a2"], "test": ["b1", "c1"]}]},
    ],
)
def test_three_forms_say_the_same(body: dict[str, Any]) -> None:
    stored = check(**body)
    assert sides(stored) == WHOLE
    assert stored.protocol == "split2-clinic"
    assert {s.protocol for s in stored.splits} == {"split2-clinic"}
    assert stored.warnings == ()


def test_one_fixed_split_says_what_it_does_not_test() -> None:
    stored = check(train=["b1"], test=["a1", "a2"])
    assert sides(stored) == [(0, 0, ("b1",), ("a1", "a2"))]
    assert stored.protocol == "split-clinic"
    assert "2 of 4 cases are tested in no fold, 'b1'" in stored.warnings[0]
    assert "1 of 1 splits leave cases out" in stored.warnings[1]


def test_a_subject_left_out_of_the_mapping_is_always_trained_on() -> None:
    stored = check(subjects={"a": 3, "b": 4})
    assert sides(stored) == [(0, 3, ("b1", "c1"), ("a1", "a2")), (0, 4, ("a1", "a2", "c1"), ("b1",))]
    assert "'c1'" in stored.warnings[0]


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"folds": [["a1", "a2"], ["x"]]}, "unknown_case", "/folds/1/0"),
        ({"folds": [["a1"], ["b1"]]}, "leakage", "/folds/0"),
        ({"folds": [["b1"], ["b1"]]}, "tested_twice", "/folds/1"),
        ({"folds": [["b1", "b1"]]}, "case_twice", "/folds/0"),
        ({"folds": [list(CASES)]}, "empty_side", "/folds/0"),
        ({"subjects": {"x/y": 0}}, "unknown_subject", "/subjects/x~1y"),
        ({"train": ["a1"], "test": ["a2"]}, "leakage", "/test"),
        ({"train": ["a1", "b1"], "test": ["b1"]}, "case_on_both_sides", "/test"),
        ({"train": ["x"], "test": ["b1"]}, "unknown_case", "/train/0"),
        ({"splits": [{"train": ["a1"], "test": ["b1", "y"]}]}, "unknown_case", "/splits/0/test/1"),
        (
            {"splits": [{"fold": 1, "train": ["a1"], "test": ["b1"]}, {"fold": 1, "train": ["a1"], "test": ["c1"]}]},
            "fold_twice",
            "/splits",
        ),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], code: str, pointer: str) -> None:
    with pytest.raises(Invalid) as error:
        check(**body)
    assert (error.value.code, error.value.pointer) == (code, pointer)


def test_forms_exclude_each_other() -> None:
    for body in ({}, {"train": ["a1"]}, {"folds": [["a1"]], "subjects": {"a": 0}}, {"name": "a/b", "folds": [["a1"]]}):
        with pytest.raises(ValueError, match="validation error"):
            SplitUpload.model_validate({"name": "n"} | body)


def test_a_second_repeat_may_test_a_case_again() -> None:
    rows = [
        {"repeat": r, "train": [c for c in CASES if c[0] != s], "test": [c for c in CASES if c[0] == s]}
        for r in (0, 1)
        for s in "abc"
    ]
    assert check(splits=rows).protocol == "split3-clinic"
    assert "not tested in every repeat" in check(splits=rows[:4]).warnings[0]


def spec(protocol: dict[str, Any], **fields: Any) -> BenchmarkSpec:
    return BenchmarkSpec.model_validate(
        {"dataset": "dst_1", "architectures": ["unet"], "protocols": [protocol]} | fields
    )


def test_exported_folds_come_back_the_same_for_every_seed() -> None:
    drawn = outer_splits(spec({"kind": "kfold", "k": 3, "repeats": 2}, seeds=[0, 5]), dataset=dataset(), imported={})
    exported = export_splits("kfold3x2", [s for splits in drawn.values() for s in splits])
    again = SplitUpload.model_validate_json(exported.model_dump_json(exclude_none=True))
    stored = check_splits(again, dataset=dataset(), splits_id="spl_1", sha256=SHA)
    assert stored.protocol == "split3-kfold3x2"
    used = outer_splits(
        spec({"kind": "split", "split": "spl_1"}, seeds=[0, 5]), dataset=dataset(), imported={"spl_1": stored}
    )
    for seed in (0, 5):
        assert [(s.repeat, s.fold, s.train, s.test) for s in used[seed]] == [
            (s.repeat, s.fold, s.train, s.test) for s in drawn[seed]
        ]


def test_splits_of_another_dataset_or_without_the_seed_are_refused() -> None:
    stored = check(splits=[{"seed": 3, "train": ["a1"], "test": ["b1"]}])
    wanted = spec({"kind": "split", "split": "spl_1"})
    with pytest.raises(Invalid) as error:
        outer_splits(wanted, dataset=dataset(), imported={"spl_1": stored})
    assert error.value.code == "split_without_seed"
    other = stored.model_copy(update={"dataset": "dst_2"})
    with pytest.raises(Invalid) as error:
        outer_splits(wanted, dataset=dataset(), imported={"spl_1": other})
    assert (error.value.code, error.value.pointer) == ("split_of_another_dataset", "/protocols/0/split")
