"""The leakage guard: what is linked, where it is divided, and what an override leaves behind."""

from typing import Any

import pytest

from intima.contracts.benchmark import BenchmarkSpec, FoldPayload, PublishPayload
from intima.contracts.dataset import ClassSpec, Dataset, Similarity, SimilarPair
from intima.errors import Invalid
from intima.leakage import Division, External, find_leaks, refuse_leaks
from intima.schedule import benchmark_leaks, plan_benchmark
from tests.builders import stored_case

SHA = "a" * 64


def dataset(*cases: tuple[str, str, str | None], pairs: tuple[tuple[str, str], ...] = ()) -> Dataset:
    """Return a dataset of (case, subject, block) and pairs of similar cases."""
    stored = [stored_case(case, subject, block=block, mpp=None, px=8) for case, subject, block in cases]
    found = tuple(
        SimilarPair(a=a, b=b, kind="overlap", score=0.9, share=0.4, view=0, offset_px=(1.0, 2.0)) for a, b in pairs
    )
    similarity = Similarity(pairs=found, compared=1, overlaps_searched=True, fingerprints_sha256=SHA)
    classes = tuple(ClassSpec(index=i, name=n, color="#000000") for i, n in enumerate(("background", "tissue")))
    return Dataset(
        id="dst_1",
        version=SHA,
        name="d",
        licence="none",
        classes=classes,
        cases=tuple(stored),
        similarity=similarity,
    )


def nine(*pairs: tuple[str, str]) -> Dataset:
    return dataset(*((f"c{i}", f"s{i}", None) for i in range(9)), pairs=pairs)


def spec(**fields: Any) -> BenchmarkSpec:
    base = {"dataset": "dst_1", "architectures": ["unet"], "protocols": [{"kind": "loocv"}], "search": {"trials": 0}}
    return BenchmarkSpec.model_validate(base | fields)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dataset(("a", "s", None), ("b", "s", None)), "subject 's'"),
        (dataset(("a", "s", "left"), ("b", "t", "left")), "block 'left', under two subjects"),
        (
            dataset(("a", "s", None), ("b", "t", None), pairs=(("a", "b"),)),
            "same tissue (overlap, score 0.90, overlap 40%",
        ),
    ],
)
def test_what_belongs_together_is_found_on_two_sides(data: Dataset, reason: str) -> None:
    divided = [
        Division(f"fold {i}", "/protocols/0", *sides) for i, sides in enumerate(((("a",), ("b",)), (("b",), ("a",))))
    ]
    (leak,) = find_leaks(divided, dataset=data)
    assert reason in leak.sentence
    assert "'a' and 'b' are on both sides of fold 0 and 1 more" in leak.sentence
    assert find_leaks([Division("fold", "", ("a", "b"), ())], dataset=data) == ()


def test_a_block_of_one_subject_and_an_unlinked_case_are_no_leak() -> None:
    data = dataset(("a", "s", "left"), ("b", "s", "left"), ("c", "t", "right"))
    assert find_leaks([Division("f", "", ("a", "b"), ("c",))], dataset=data) == ()


def test_a_benchmark_that_leaks_is_refused_with_the_pairs_named() -> None:
    with pytest.raises(Invalid) as error:
        plan_benchmark(spec(), dataset=nine(("c1", "c2"), ("c3", "c4")), benchmark="b")
    assert error.value.code == "leakage"
    assert [p.pointer for p in error.value.places] == ["/protocols/0"] * 2
    assert "'c1' and 'c2'" in error.value.places[0].message
    assert "'c3' and 'c4'" in error.value.places[1].message
    assert "allow_leakage" in error.value.places[0].hint


def test_a_dataset_that_was_never_compared_is_refused_unless_a_reason_is_given() -> None:
    bare = nine().model_copy(update={"similarity": None})
    with pytest.raises(Invalid) as error:
        plan_benchmark(spec(), dataset=bare, benchmark="b")
    assert (error.value.code, error.value.pointer) == ("not_compared", "/dataset")
    assert "Upload the same zip again" in (error.value.hint or "")
    assert "allow_leakage" in (error.value.hint or "")
    assert plan_benchmark(spec(allow_leakage="phantoms"), dataset=bare, benchmark="b")


def test_a_dataset_says_what_its_images_were_searched_for() -> None:
    whole = nine()
    assert whole.similarity is not None
    crowded = whole.model_copy(update={"similarity": whole.similarity.model_copy(update={"overlaps_searched": False})})
    bare = whole.model_copy(update={"similarity": None})
    assert [d.image_comparison for d in (whole, crowded, bare)] == ["copies_and_overlaps", "copies", "none"]


def test_an_inner_split_is_guarded_too() -> None:
    """Where both images are in training, the search would divide them."""
    data = nine(*(("c0", f"c{i}") for i in range(1, 9)))
    searched = benchmark_leaks(spec(search={"trials": 1}), dataset=data)
    only_inner = [leak for leak in searched if leak.pointer == "/search"]
    assert only_inner
    assert "inner split" in only_inner[0].sentence
    assert not [leak for leak in benchmark_leaks(spec(), dataset=data) if leak.pointer == "/search"]


def test_an_override_needs_a_reason_and_is_carried_into_every_result() -> None:
    with pytest.raises(ValueError, match="allow_leakage"):
        spec(allow_leakage="  ")
    units = plan_benchmark(
        spec(allow_leakage="one slide, test of the machine"), dataset=nine(("c1", "c2")), benchmark="b"
    )
    folds = [FoldPayload.model_validate(u.payload) for u in units if u.kind == "fold"]
    assert folds
    assert all(f.leakage_override for f in folds)
    (publish,) = [PublishPayload.model_validate(u.payload) for u in units if u.kind == "publish"]
    assert publish.leakage_override == "one slide, test of the machine"
    clean = plan_benchmark(spec(), dataset=nine(), benchmark="b")
    assert not any(FoldPayload.model_validate(u.payload).leakage_override for u in clean if u.kind == "fold")


def outside(*cases: tuple[str, str, str | None], **fields: Any) -> Dataset:
    found = dataset(*cases)
    new = tuple(c.model_copy(update={"image_sha256": "b" * 64}) for c in found.cases)
    return found.model_copy(update={"id": "dst_2", "cases": new, **fields})


@pytest.mark.parametrize(
    ("external", "reason"),
    [
        (External(outside(("e", "s3", None))), "subject 's3'"),
        (External(dataset(("e", "t", None)).model_copy(update={"id": "dst_2"})), "the same file"),
        (
            External(
                outside(("e", "t", None)),
                (SimilarPair(a="c1", b="e", kind="near_duplicate", score=0.9, share=1, view=0, offset_px=(0, 0)),),
            ),
            "'c1' and 'e'",
        ),
    ],
)
def test_an_external_dataset_that_shares_anything_is_refused(external: External, reason: str) -> None:
    wanted = spec(external_dataset="dst_2")
    with pytest.raises(Invalid, match="would be too good") as error:
        plan_benchmark(wanted, dataset=nine(), benchmark="b", external=external)
    assert error.value.code == "leakage"
    assert error.value.places[0].pointer == "/external_dataset"
    assert reason in error.value.places[0].message
    allowed = wanted.model_copy(update={"allow_leakage": "on purpose"})
    assert plan_benchmark(allowed, dataset=nine(), benchmark="b", external=external)


def test_an_external_dataset_must_fit() -> None:
    wanted = spec(external_dataset="dst_2")
    renamed = (ClassSpec(index=0, name="background", color="#000000"), ClassSpec(index=1, name="x", color="#000000"))
    sized = nine()
    sized = sized.model_copy(update={"cases": tuple(c.model_copy(update={"mpp": 1.0}) for c in sized.cases)})
    for data, external, code in (
        (nine(), nine(), "external_is_training"),
        (nine(), outside(("e", "t", None), classes=renamed), "external_classes"),
        (sized, outside(("e", "t", None)), "external_pixel_size"),
    ):
        with pytest.raises(Invalid) as error:
            plan_benchmark(wanted, dataset=data, benchmark="b", external=External(external))
        assert (error.value.code, error.value.pointer) == (code, "/external_dataset")


def test_the_external_units_stand_between_members_and_table() -> None:
    external = External(outside(("e", "t", None)))
    wanted = spec(external_dataset="dst_2", publish=False)
    units = {u.key: u for u in plan_benchmark(wanted, dataset=nine(), benchmark="b", external=external)}
    assert units["unet/final/external"].needs == ("unet/final/member0", "unet/final/member1")
    assert "unet/final/external" in units["collect"].after
    assert not [u for u in units.values() if u.kind == "publish"]


def test_nothing_found_is_not_refused() -> None:
    refuse_leaks(())
    assert benchmark_leaks(spec(search={"trials": 1}), dataset=nine()) == ()
