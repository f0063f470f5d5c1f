"""What reports say: the answers' own numbers, and no number of their own."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from intima.comparison.plans import PlansInMemory
from intima.comparison.ranking import rank_models
from intima.comparison.reporting import report_benchmark, report_comparison, report_ranking
from intima.comparison.reporting.phrases import interval, p_is, p_value, protocol_words, share
from intima.comparison.table import BenchmarkTable
from intima.comparison.verdict import decide_equivalence
from intima.contracts.benchmark import BenchmarkSpec, IncompletePart, LeaveOneOut
from intima.contracts.comparison import ComparisonRequest, Verdict
from intima.contracts.dataset import ClassSpec, Dataset
from intima.contracts.plan import PlanRequest
from intima.contracts.report import BenchmarkReportQuery
from intima.contracts.search import Gap, HpoNoise
from intima.contracts.statistics import RankingRequest
from intima.errors import Invalid
from intima.reports import Document, Facts, Figure, Paragraph, Table, write_report

NINE = [f"m{i}" for i in range(9)]
A = [0.81, 0.86, 0.79, 0.90, 0.84, 0.77, 0.88, 0.83, 0.85]
B = [0.80, 0.87, 0.78, 0.89, 0.85, 0.76, 0.87, 0.84, 0.84]


def texts(document: Document) -> str:
    found = [document.title, document.subtitle, document.footer]
    for block in (*document.opening, *(b for s in document.sections for b in s.blocks)):
        match block:
            case Paragraph(text=text):
                found.append(text)
            case Facts(rows=rows):
                found += [cell for row in rows for cell in row]
            case Table():
                found += [block.note, *(c.title for c in block.columns), *(c for row in block.rows for c in row)]
            case Figure(caption=caption):
                found.append(caption)
    return "\n".join([*found, *(s.title for s in document.sections)])


def compare(plans: PlansInMemory | None = None, **more: object) -> Verdict:
    sides = {s: {"scores": v, "subjects": NINE, "label": n} for s, v, n in (("a", A, "unet"), ("b", B, "segformer"))}
    body = sides | {"margin": {"value": 0.02}} | more
    request = ComparisonRequest.model_validate({k: v for k, v in body.items() if v is not None})
    return decide_equivalence(request, fetch=lambda *_: NotImplemented, plans=plans or PlansInMemory(lambda: "now"))


def below(gap: float, *, spread: float = 1e-4) -> dict[str, object]:
    return {"scores": [v - gap + spread * i for i, v in enumerate(A)], "subjects": NINE, "label": "x"}


def table_csv(protocols: tuple[str, ...] = ("loocv", "kfold3"), models: dict[str, list[float]] | None = None) -> bytes:
    lines = ["case,subject,protocol,repeat,fold,seed,architecture,model,class,metric,value,unit,selection_biased"]
    lines += [
        f"{s}.png,{s},{p},0,{i if p == 'loocv' else i % 3},0,{m},{m},macro,dice,{v[i]},,False"
        for p in protocols
        for m, v in (models or {"unet": A, "segformer": B}).items()
        for i, s in enumerate(NINE)
    ]
    return "\n".join(lines).encode()


def report(table: BenchmarkTable, **query: object) -> Document:
    return report_benchmark("bmk_1", BenchmarkReportQuery.model_validate(query), fetch_table=lambda _: table)


def test_a_comparison_leads_with_its_verdict() -> None:
    verdict = compare()
    document = report_comparison(verdict)
    assert document.title == "unet against segformer"
    lead = document.opening[0]
    assert isinstance(lead, Paragraph)
    assert lead.text == f"Equivalent. {verdict.sentence}"
    said = texts(document)
    for wanted in ("Exploratory", "Wilcoxon signed ranks", "Hedges' g_z", "m8", interval(verdict.difference.ci90)):
        assert wanted in said
    assert all(w in said for w in verdict.warnings)


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ({"margin": {"value": 0.001}}, "Cannot tell"),
        ({"b": below(0.2)}, "unet is better"),
        ({"b": below(0.01)}, "Different, but"),
        ({"b": below(0.0, spread=0.0)}, "Cannot tell"),
        ({"dependence": {"protocol": "loocv", "n_train": 8, "n_test": 1}}, "Equivalent"),
    ],
)
def test_every_verdict_has_a_headline(change: dict[str, object], headline: str) -> None:
    document = report_comparison(compare(**change))
    assert texts(document).split("\n")[3].startswith(headline)
    assert write_report(document, "html")


def test_a_plan_says_what_the_verdict_may_call_itself() -> None:
    plans = PlansInMemory(lambda: "2026-01-01T00:00:00.000Z")
    plan = plans.lock(PlanRequest.model_validate({"margin": {"value": 0.02}}))
    said = texts(report_comparison(compare(plans, plan=plan.id, margin=None)))
    assert f"Confirmatory, under the plan {plan.id}, locked at 2026-01-01" in said


def test_many_subjects_are_cut_and_it_says_so() -> None:
    subjects, scores = [f"s{i}" for i in range(300)], np.random.default_rng(0).normal(0.8, 0.05, (2, 300))
    sides = {s: {"scores": v.tolist(), "subjects": subjects} for s, v in zip("ab", scores, strict=True)}
    assert "100 more are in the CSV" in texts(report_comparison(compare(**sides)))


def test_a_ranking_shows_tiers_pairs_and_three_figures() -> None:
    body = {"scores": [A, B], "rows": "models", "models": ["unet", "segformer"], "subjects": NINE}
    ranking = rank_models(RankingRequest.model_validate(body), fetch_table=lambda _: BenchmarkTable(b""))
    document = report_ranking(ranking)
    said = texts(document)
    assert ranking.sentence in said
    assert "unet − segformer" in said
    assert sum(isinstance(b, Figure) for s in document.sections for b in s.blocks) == 3


def test_a_benchmark_ranks_each_of_its_protocols() -> None:
    spec = BenchmarkSpec(dataset="d", architectures=("unet",), protocols=(LeaveOneOut(kind="loocv"),))
    classes = (ClassSpec(index=0, name="background", color="#000000"),)
    dataset = Dataset(id="d", version="d" * 64, name="synthetic nine", licence="CC0", classes=classes, cases=())
    gap = Gap(splits=9, mean=0.0712, ci95=None, ci95_corrected=(-0.118, 0.257))
    noise = HpoNoise(model="unet", protocol="loocv", selection=gap, refitted=gap, optimistic=False)
    part = IncompletePart(model="sam", protocol="loocv", missing=2, unit="u", reason="out of memory")
    table = BenchmarkTable(
        table_csv(),
        dataset_version="v1",
        incomplete=(part,),
        hpo_noise=(noise,),
        spec=spec,
        dataset=dataset,
        read_costs=lambda: {"unet": {"flops": 1.5e9}},
    )
    said = texts(report(table, margin=0.02))
    for wanted in (
        "Leave one subject out: dice (macro)",
        "3-fold cross-validation: dice (macro)",
        "The images are synthetic",
        "2 trials by gp, nested",
        "out of memory",
        "0.0712",
        "−0.118 to 0.257",
        "1.5e+09",
        "protocols: loocv and kfold3",
        "cheapest among equivalents",
    ):
        assert wanted in said
    assert "1.5e+09" not in texts(report(dataclasses.replace(table, read_costs=dict)))


def test_the_paradox_is_in_the_report() -> None:
    lines = table_csv(("loocv",)).decode()
    tolerant = [line.replace(",dice,", ",tolerant_dice,") for line in lines.split("\n")[1:]]
    said = texts(report(BenchmarkTable("\n".join([lines, *tolerant]).encode())))
    assert "what are the differences made of?" in said
    assert "unet − segformer" in said


def test_what_cannot_be_ranked_says_why_and_shows_its_mean() -> None:
    said = texts(report(BenchmarkTable(table_csv(models={"unet": A}))))
    assert "Not ranked: The benchmark has 1 complete model under" in said
    assert "0.837" in said
    low, high = stats.t.interval(0.95, 8, loc=np.mean(A), scale=stats.sem(A))
    assert f"{low:.3g} to {high:.3g}" in said


def test_one_protocol_that_cannot_be_read_leaves_the_others() -> None:
    head, *lines = table_csv(("loocv",)).decode().split("\n")
    mixed = [
        line.replace("loocv", "external").replace(",,False", ",px,False" if i % 2 else ",um,False")
        for i, line in enumerate(lines)
    ]
    said = texts(report(BenchmarkTable("\n".join([head, *lines, *mixed]).encode())))
    assert "Not ranked: dice is in" in said
    assert "segformer − unet" in said


def test_the_longest_split_name_is_reported() -> None:
    name = f"split3-{'x' * 200}"
    assert f"Protocol {name}" in texts(report(BenchmarkTable(table_csv((name,)))))


def test_another_alpha_changes_what_decides() -> None:
    verdict = compare(alpha=0.01, margin={"value": 0.012})
    said = texts(report_comparison(verdict))
    assert "decides equivalence" not in said
    assert "the 98 % interval inside the margin, and difference by the 99 % interval off zero" in said
    assert "Decided at alpha\n0.01" in said


@pytest.mark.parametrize("b", [below(0.0, spread=0.0), {"scores": B[:2], "subjects": NINE[:2]}])
def test_where_nothing_decides_nothing_is_said_to_decide(b: dict[str, object]) -> None:
    a = {"scores": A[: len(b["scores"])], "subjects": b["subjects"]}  # type: ignore[arg-type]
    said = texts(report_comparison(compare(a=a, b=b)))
    assert "(decides)" not in said
    assert "None of them decides here" in said
    assert "No test was decided by" in said


def test_a_metric_that_was_not_scored() -> None:
    with pytest.raises(Invalid, match="no hd95") as caught:
        report(BenchmarkTable(table_csv()), metric="hd95")
    assert caught.value.pointer == "/metric"


@pytest.mark.parametrize("form", ["html", "pdf"])
def test_many_models_with_long_names_fit(form: str) -> None:
    scores = np.random.default_rng(1).normal(0.8, 0.05, (30, 9))
    names = {f"{'x' * 180}{j}": v.tolist() for j, v in enumerate(scores)}
    document = report(BenchmarkTable(table_csv(("kfold3",), names)))
    assert len(write_report(document, form)) > 10_000  # type: ignore[arg-type]


def test_phrases() -> None:
    assert [p_value(p) for p in (None, 0.0004, 0.0123, 1.0)] == ["–", "< .001", ".012", "1"]
    assert [share(s) for s in (0.0, 1e-6, 0.003, 0.283, 0.996, 1.0)] == [
        "0 %",
        "< 0.01 %",
        "0.3 %",
        "28 %",
        "> 99 %",
        "100 %",
    ]
    assert (p_is(0.0004), p_is(0.2)) == ("p < .001", "p = .200")
    assert interval((-0.0123, 0.5)) == "−0.0123 to 0.5"
    assert [protocol_words(p) for p in ("loocv", "kfold5x3", "split3-mine", "external")] == [
        "Leave one subject out",
        "5-fold cross-validation, 3 repeats",
        "Protocol split3-mine",
        "External dataset",
    ]
