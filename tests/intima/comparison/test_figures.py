"""Figures: every one in every format, the same bytes twice, numbers that are those of the answer, odd names."""

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pytest

from intima.comparison.figures import (
    COMPARISON_FIGURES,
    POWER_FIGURES,
    RANKING_FIGURES,
    STABILITY_FIGURES,
    Drawing,
    FigureFormat,
    render,
)
from intima.comparison.plans import PlansInMemory
from intima.comparison.ranking import rank_models
from intima.comparison.stability import study_stability
from intima.comparison.table import BenchmarkTable
from intima.comparison.verdict import decide_equivalence
from intima.contracts.comparison import ComparisonRequest, Verdict
from intima.contracts.statistics import PowerRequest, Ranking, RankingRequest, StabilityRequest

MODELS = ("unet", "deeplabv3plus", "segformer", "sam", "medsam", "medsam_unet")
SVG = "{http://www.w3.org/2000/svg}svg"


def scores(subjects: int, models: int, *, spread: float = 0.03) -> np.ndarray:
    random = np.random.default_rng(subjects)
    return random.normal(0.85, 0.06, (subjects, 1)) + random.normal(0, spread, (subjects, models))


def ranking(matrix: np.ndarray, names: tuple[str, ...] = MODELS) -> Ranking:
    body = {"scores": matrix.tolist(), "models": names[: matrix.shape[1]]}
    request = RankingRequest.model_validate(body | {"subjects": [f"m{i}" for i in range(len(matrix))]})
    return rank_models(request, fetch_table=lambda _: BenchmarkTable(b""))


def verdict(matrix: np.ndarray, names: tuple[str, ...] = MODELS) -> Verdict:
    subjects = [f"m{i}" for i in range(len(matrix))]
    sides = {
        side: {"scores": column.tolist(), "subjects": subjects, "label": name}
        for side, column, name in zip("ab", matrix.T, names, strict=False)
    }
    dependence = {"protocol": "loocv", "n_train": len(matrix) - 1, "n_test": 1}
    request = ComparisonRequest.model_validate(sides | {"margin": {"value": 0.02}, "dependence": dependence})
    return decide_equivalence(request, fetch=lambda *_: None, plans=PlansInMemory(now=lambda: ""))  # type: ignore[arg-type,return-value]


STABILITY = study_stability(StabilityRequest(gaps=(0.0, 0.02, 0.05), numbers=(5, 9, 20), data_sets=100))
POWER = PowerRequest(sd_difference=0.05, n=9, margin=0.02)
NINE = scores(9, 6)
DRAWINGS: dict[str, Callable[[], Drawing]] = {
    **{f"ranking-{name}": lambda f=figure: f(ranking(NINE)) for name, figure in RANKING_FIGURES.items()},
    **{f"comparison-{name}": lambda f=figure: f(verdict(NINE)) for name, figure in COMPARISON_FIGURES.items()},
    **{f"stability-{name}": lambda f=figure: f(STABILITY) for name, figure in STABILITY_FIGURES.items()},
    **{f"power-{name}": lambda f=figure: f(POWER) for name, figure in POWER_FIGURES.items()},
}


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("form", ["svg", "pdf", "csv"])
def test_every_figure_in_every_format_twice_the_same(name: str, form: FigureFormat) -> None:
    found = render(DRAWINGS[name](), form)
    assert found == render(DRAWINGS[name](), form)
    if form == "svg":
        assert ET.fromstring(found).tag == SVG
    elif form == "pdf":
        assert found.startswith(b"%PDF-")
        assert found.rstrip().endswith(b"%%EOF")
    else:
        rows = list(csv.reader(io.StringIO(found.decode())))
        assert len(rows) > 2
        assert {len(row) for row in rows} == {len(rows[0])}


def numbers(drawing: Drawing) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(drawing, "csv").decode())))


def test_the_numbers_are_those_of_the_answer() -> None:
    found, rows = verdict(NINE), numbers(COMPARISON_FIGURES["forest"](verdict(NINE)))
    means = {r["name"]: r for r in rows if r["what"] == "mean"}
    assert set(means) == {"mean, corrected", "mean, not corrected"}
    assert found.difference.ci90 is not None
    assert float(means["mean, corrected"]["ci90_low"]) == found.difference.ci90[0]
    assert [r["name"] for r in rows if r["what"] == "subject"] == [f"m{i}" for i in range(9)]
    blobs = numbers(RANKING_FIGURES["rank_blobs"](ranking(NINE)))
    for model in MODELS:
        assert sum(float(r["probability"]) for r in blobs if r["model"] == model) == pytest.approx(1)
    power = numbers(POWER_FIGURES["power_curves"](POWER))
    assert int(power[0]["subjects"]) == 2
    assert float(power[-1]["power_equivalence"]) > 0.8


@pytest.mark.parametrize("names", [("$a_{", "b$\\frac"), ("<svg>&amp;", "x" * 200), ("ÄöµΩ", "a  b")])
def test_odd_names_are_only_text(names: tuple[str, str]) -> None:
    for figure in RANKING_FIGURES.values():
        assert ET.fromstring(render(figure(ranking(scores(6, 2), names)), "svg")).tag == SVG
    for shape in COMPARISON_FIGURES.values():
        assert ET.fromstring(render(shape(verdict(scores(6, 2), names)), "svg")).tag == SVG


def test_labels_of_raw_scores_may_hold_anything() -> None:
    for shape in COMPARISON_FIGURES.values():
        assert ET.fromstring(render(shape(verdict(scores(6, 2), ("a\nb\x0c--", "\x00]]>"))), "svg")).tag == SVG


def test_a_metric_may_be_called_anything() -> None:
    for odd in ("dice\x01", "d\ud800", "x" * 200):
        plain = verdict(NINE).model_copy(update={"metric": odd, "class_": odd})
        for shape in COMPARISON_FIGURES.values():
            assert ET.fromstring(render(shape(plain), "svg")).tag == SVG
        ranked = ranking(scores(6, 2)).model_copy(update={"metric": odd, "class_": odd})
        for figure in RANKING_FIGURES.values():
            assert ET.fromstring(render(figure(ranked), "svg")).tag == SVG


def test_curves_of_equal_models_have_empty_cells() -> None:
    equal = study_stability(StabilityRequest(gaps=(0.0, 0.0), numbers=(5,), data_sets=100))
    rows = numbers(STABILITY_FIGURES["stability_curves"](equal))
    assert rows[0]["best_first"] == ""
    assert render(STABILITY_FIGURES["stability_curves"](equal), "svg")


def test_without_spread_and_with_few_or_many_there_is_a_figure() -> None:
    many = tuple(f"model {i}" for i in range(30))
    for matrix in (np.full((9, 3), 0.8), scores(2, 2), scores(12, 30), scores(60, 3)):
        for figure in RANKING_FIGURES.values():
            assert render(figure(ranking(matrix, many)), "svg")
        for shape in COMPARISON_FIGURES.values():
            assert render(shape(verdict(matrix[:, :2], many)), "svg")


def test_subjects_that_are_not_drawn_take_no_room() -> None:
    few, many = (COMPARISON_FIGURES["forest"](verdict(scores(n, 2), ("a", "b"))) for n in (20, 60))
    assert many.height_in < few.height_in


@pytest.mark.parametrize("protocol", [None, "loocv", "kfold3"])
@pytest.mark.parametrize("margin", [1e-6, 0.02, 1e3])
def test_power_curves_of_any_design(protocol: str | None, margin: float) -> None:
    request = PowerRequest(sd_difference=0.05, n=9, margin=margin, protocol=protocol)
    drawing = POWER_FIGURES["power_curves"](request)
    assert all(0 <= float(p) <= 1 for row in drawing.rows for p in row[1:])
    assert render(drawing, "svg")


def test_a_margin_is_drawn_into_the_forest_of_pairs() -> None:
    body = {"scores": NINE.tolist(), "models": MODELS, "subjects": [f"m{i}" for i in range(len(NINE))]}
    request = RankingRequest.model_validate(body | {"margin": {"value": 0.02}, "costs": [1.0] * len(MODELS)})
    with_margin = rank_models(request, fetch_table=lambda _: BenchmarkTable(b""))
    assert "margin of 0.02" in forest_text(with_margin)
    assert "margin" not in forest_text(ranking(NINE))


def forest_text(found: Ranking) -> str:
    figure = plt.figure()
    axes = figure.add_subplot()
    RANKING_FIGURES["forest"](found).draw(axes)
    text = axes.get_xlabel().replace("\n", " ")
    plt.close(figure)
    return text
