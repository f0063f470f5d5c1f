"""Scores out of scores.csv: selection, averaging, dependence, refusals."""

import csv
import io
from functools import partial

import pytest

from intima.comparison.plans import PlansInMemory
from intima.comparison.ranking import rank_models
from intima.comparison.scores import Selection, SubjectScores, overlap_of_protocol
from intima.comparison.table import BenchmarkTable, benchmark_fetcher, read_table, scores_from_table, select_scores
from intima.comparison.verdict import decide_equivalence
from intima.contracts.benchmark import IncompletePart
from intima.contracts.comparison import ComparisonRequest
from intima.contracts.statistics import RankingRequest
from intima.errors import Invalid, NotFound

decide = partial(decide_equivalence, plans=PlansInMemory(now=lambda: "2026-01-01T00:00:00.000Z"))
HEADER = [
    *("case", "subject", "protocol", "repeat", "fold", "seed", "architecture", "model", "class"),
    *("metric", "value", "unit", "selection_biased"),
]
SCORES = {"unet": (0.80, 0.85, 0.78, 0.90, 0.83), "deeplabv3plus": (0.79, 0.86, 0.76, 0.89, 0.84)}


def rows(protocols: tuple[str, ...] = ("loocv",)) -> list[dict[str, object]]:
    found = []
    for protocol in protocols:
        for model, values in SCORES.items():
            for i, value in enumerate(values):
                for section, delta in (("a", 0.01), ("b", -0.01)):
                    shared = {
                        "case": f"m{i}{section}",
                        "subject": f"m{i}",
                        "protocol": protocol,
                        "repeat": 0,
                        "fold": i,
                    }
                    one = {"seed": 0, "architecture": model, "model": model, "class": "macro", "metric": "dice"}
                    tail = {"value": value + delta, "unit": "", "selection_biased": False}
                    found.append(shared | one | tail)
    return found


def as_csv(table: list[dict[str, object]], header: list[str] = HEADER) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, header, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue().encode()


def scores(table: list[dict[str, object]], label: str = "unet", **chosen: str) -> SubjectScores:
    selection = Selection("dice", "macro", None)
    fields = {"metric": selection.metric, "class_name": selection.class_name, "protocol": None} | chosen
    return scores_from_table(read_table(as_csv(table)), label, Selection(**fields))  # type: ignore[arg-type]


def compare(table: list[dict[str, object]], **more: object):
    tables = {"bmk_1": BenchmarkTable(as_csv(table), "v1"), "bmk_2": BenchmarkTable(as_csv(table), "v2")}
    fetch = benchmark_fetcher(tables.__getitem__, lambda ref: ("bmk_1", ref.split("@")[0]))
    body: dict[str, object] = {
        "a": {"benchmark": "bmk_1", "architecture": "unet"},
        "b": {"model": "deeplabv3plus@abc"},
        "margin": {"value": 0.02},
    }
    return decide(ComparisonRequest.model_validate(body | more), fetch=fetch)


def test_sections_are_averaged_within_subjects() -> None:
    found = scores(rows())
    assert found.by_subject == pytest.approx(dict(zip(["m0", "m1", "m2", "m3", "m4"], SCORES["unet"], strict=True)))
    assert found.overlap is not None
    assert (found.overlap.splits, found.overlap.test_to_train) == (5, 0.25)


def test_a_benchmark_is_compared_with_its_dependence() -> None:
    found = compare(rows())
    assert found.models == ("unet", "deeplabv3plus@abc")
    assert found.dependence.protocol == "loocv"
    assert found.dependence.standard_error_factor == pytest.approx((1 + 5 / 4) ** 0.5)
    assert found.naive_difference is not None
    assert found.provenance["dataset_version"] == "v1"
    assert len(str(found.provenance["split_sha256"])) == 64
    assert any("cross-validation of the recipe behind deeplabv3plus@abc" in w for w in found.warnings)


def test_several_protocols_need_a_name() -> None:
    table = rows(("loocv", "kfold3"))
    with pytest.raises(Invalid, match="several protocols: kfold3, loocv") as caught:
        compare(table)
    assert (caught.value.code, caught.value.pointer) == ("protocol_needed", "/protocol")
    assert compare(table, protocol="kfold3").dependence.standard_error_factor == pytest.approx(2.5**0.5)


def test_different_datasets_are_not_paired() -> None:
    with pytest.raises(Invalid, match="dataset version v1, b on v2"):
        compare(rows(), b={"benchmark": "bmk_2", "architecture": "unet"})


def test_a_benchmark_against_raw_scores() -> None:
    b = {"scores": [0.7] * 5, "subjects": [f"m{i}" for i in range(5)], "label": "rival"}
    found = compare(rows(), b=b)
    assert found.verdict == "better_a"
    assert found.models == ("unet", "rival")


@pytest.mark.parametrize(
    ("more", "error", "pointer"),
    [
        ({"a": {"benchmark": "bmk_1", "architecture": "nobody"}}, NotFound, "/a/architecture"),
        ({"metric": "hd95"}, Invalid, "/metric"),
        ({"class": "Media"}, Invalid, "/class"),
        ({"protocol": "kfold9"}, Invalid, "/protocol"),
    ],
)
def test_what_is_not_there_is_named(more: dict[str, object], error: type[Exception], pointer: str) -> None:
    with pytest.raises(error, match="The benchmark has no") as caught:
        compare(rows(), **more)
    assert caught.value.pointer == pointer  # type: ignore[attr-defined]
    assert "It has" in caught.value.hint  # type: ignore[attr-defined]


def test_a_skipped_case_leaves_the_others_and_a_skipped_subject_unpairs() -> None:
    table = rows()
    table[0]["value"] = ""
    assert scores(table).by_subject["m0"] == pytest.approx(0.79)
    table[1]["value"] = ""
    assert "m0" not in scores(table).by_subject
    with pytest.raises(Invalid) as caught:
        compare(table)
    assert caught.value.code == "unpaired"
    assert "m0" in caught.value.message
    for row in table:
        if row["subject"] == "m0":
            row["value"] = ""
    found = compare(table)
    assert found.n_units == 4
    assert any("no score on m0" in w for w in found.warnings)


def test_flat_search_is_called_optimistic() -> None:
    table = [row | {"selection_biased": "True"} for row in rows()]
    assert any("optimistic" in w for w in compare(table).warnings)


def test_an_unknown_protocol_is_not_corrected_and_says_so() -> None:
    found = compare([row | {"protocol": "bootstrap632"} for row in rows()])
    assert found.naive_difference is None
    assert any("'bootstrap632' is not known" in w for w in found.warnings)


def test_an_external_set_is_not_corrected_and_speaks_of_one_ensemble() -> None:
    found = compare([row | {"protocol": "external"} for row in rows()])
    assert found.naive_difference is None
    assert any("the interval speaks of these nets" in w for w in found.warnings)


def test_mixed_units_are_refused() -> None:
    table = rows()
    table[0]["unit"] = "px"
    with pytest.raises(Invalid, match="pixel size"):
        compare(table)


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "abc", "0,5"])
def test_a_bad_value_is_named_by_its_line(value: str) -> None:
    table = rows()
    table[3]["value"] = value
    with pytest.raises(Invalid, match="Line 5"):
        read_table(as_csv(table))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(Invalid, match="no column subject"):
        read_table(as_csv(rows(), [c for c in HEADER if c != "subject"]))


def test_an_empty_table_has_nothing() -> None:
    with pytest.raises(NotFound, match="no contender"):
        scores([])
    with pytest.raises(Invalid, match="no metric"):
        select_scores([], Selection("dice", "macro", None))


def test_byte_order_mark_and_windows_lines_are_read() -> None:
    data = b"\xef\xbb\xbf" + as_csv(rows()).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert len(read_table(data)) == 20


@pytest.mark.parametrize(
    ("name", "subjects", "expected"),
    [
        ("loocv", 9, (9, 1 / 8)),
        ("loocv", 1, None),
        ("kfold3", 9, (3, 0.5)),
        ("kfold10", 100, (10, 1 / 9)),
        ("kfold3x5", 9, (3, 0.5)),
        ("split4-clinic", 9, (4, 1 / 3)),
        ("split-clinic", 9, None),
        ("kfold3-x", 9, None),
        ("kfold3x", 9, None),
        ("kfold1", 9, None),
        ("kfold", 9, None),
        ("kfold03", 9, None),
        ("external", 9, None),
    ],
)
def test_overlap_of_protocol(name: str, subjects: int, expected: tuple[int, float] | None) -> None:
    found = overlap_of_protocol(name, subjects)
    assert (None if found is None else (found.splits, found.test_to_train)) == expected


def test_a_benchmark_is_ranked() -> None:
    request = RankingRequest(benchmark="bmk_1")
    found = rank_models(request, fetch_table=lambda _: BenchmarkTable(as_csv(rows())))
    assert [m.model for m in found.models] == ["unet", "deeplabv3plus"]
    assert found.n_units == 5
    assert any("training sets overlap" in w for w in found.warnings)
    one = [r for r in rows() if r["model"] == "unet"]
    with pytest.raises(Invalid, match="has 1 complete model under"):
        rank_models(request, fetch_table=lambda _: BenchmarkTable(as_csv(one)))
    gap = rows()[:-2]
    with pytest.raises(Invalid, match="deeplabv3plus has no score on m4"):
        rank_models(request, fetch_table=lambda _: BenchmarkTable(as_csv(gap)))


LACKS = IncompletePart(
    model="deeplabv3plus", protocol="kfold3x5", missing=2, unit="deeplabv3plus/kfold3x5/r0/f1/s0/fold", reason="killed"
)


def test_a_contender_with_scores_of_some_folds_is_not_compared_under_that_protocol() -> None:
    """Every subject may have a score all the same, of the other repeats: no pairing would notice."""
    table = BenchmarkTable(as_csv(rows(("loocv", "kfold3x5"))), "v1", (LACKS,))
    fetch = benchmark_fetcher(lambda _: table, lambda ref: ("bmk_1", ref.split("@")[0]))
    body = {
        "a": {"benchmark": "bmk_1", "architecture": "unet"},
        "b": {"benchmark": "bmk_1", "architecture": "deeplabv3plus"},
        "margin": {"value": 0.02},
    }
    with pytest.raises(Invalid, match="lacks the scores of 2 folds of kfold3x5: killed") as error:
        decide(ComparisonRequest.model_validate(body | {"protocol": "kfold3x5"}), fetch=fetch)
    assert (error.value.code, error.value.pointer) == ("incomplete", "/b/architecture")
    whole = decide(ComparisonRequest.model_validate(body | {"protocol": "loocv"}), fetch=fetch)
    assert whole.models == ("unet", "deeplabv3plus")


def test_a_ranking_leaves_out_incomplete_contenders_and_says_so() -> None:
    third = [r | {"model": "manet", "value": 0.5} for r in rows() if r["model"] == "unet"]
    lacks = LACKS.model_copy(update={"protocol": "loocv"})
    table = BenchmarkTable(as_csv(rows() + third), "v1", (lacks,))
    found = rank_models(RankingRequest(benchmark="bmk_1"), fetch_table=lambda _: table)
    assert [m.model for m in found.models] == ["unet", "manet"]
    assert "deeplabv3plus is left out: some of its folds failed." in found.warnings


def test_an_overridden_leakage_guard_is_said_in_the_verdict() -> None:
    table = [row | {"leakage_override": "true"} for row in rows()]
    text = as_csv(table, [*HEADER, "leakage_override"])
    found = scores_from_table(read_table(text), "unet", Selection("dice", "macro", None))
    assert found.provenance["leakage_override"] is True
    assert any("leakage guard was overridden" in w for w in found.warnings)
    assert scores(rows()).provenance["leakage_override"] is False


def test_different_start_weights_are_said_in_verdict_and_ranking() -> None:
    kinds = {"unet": "imagenet", "deeplabv3plus": "random"}
    table = [row | {"encoder_weights": kinds[str(row["model"])]} for row in rows()]
    text = as_csv(table, [*HEADER, "encoder_weights"])
    request = ComparisonRequest.model_validate(
        {
            "a": {"benchmark": "bmk_1", "architecture": "unet"},
            "b": {"benchmark": "bmk_1", "architecture": "deeplabv3plus"},
            "margin": {"value": 0.05},
        }
    )
    fetch = benchmark_fetcher(lambda _: BenchmarkTable(text), lambda ref: ("bmk_1", ref))
    found = decide(request, fetch=fetch)
    said = "which may explain a difference: unet from imagenet, deeplabv3plus from random"
    assert any(said in w for w in found.warnings)
    ranking = rank_models(RankingRequest(benchmark="bmk_1"), fetch_table=lambda _: BenchmarkTable(text))
    assert any("start" in w and "deeplabv3plus from random" in w for w in ranking.warnings)
    assert not any("started from different" in w for w in compare(rows()).warnings)
