"""One line per contender, and cards."""

import math

import pytest
from scipy import stats

from intima.architectures.sources import RANDOM
from intima.contracts.benchmark import ArchitectureSpec, RankAgreement, ScoreRow
from intima.contracts.dataset import ClassSpec, Dataset
from intima.contracts.model import Member
from intima.training.card import card_name, protocol_scores, write_card
from intima.training.data import Resolution
from intima.training.leaderboard import compare_rankings, rank_contenders, t_interval


def row(
    model: str, subject: str, value: float | None, *, protocol: str = "loocv", metric: str = "dice", case: str = "x"
):
    return ScoreRow.model_validate(
        {
            "case": case,
            "subject": subject,
            "protocol": protocol,
            "repeat": 0,
            "fold": 0,
            "seed": 0,
            "architecture": "unet",
            "model": model,
            "class": "macro",
            "metric": metric,
            "value": value,
            "unit": "",
            "selection_biased": False,
        }
    )


def test_two_rankings_are_compared_or_it_is_said_why_not() -> None:
    def board(**means: tuple[float, float]) -> tuple[RankAgreement, ...]:
        sides = zip(("loocv", "external"), zip(*means.values(), strict=True), strict=True)
        scored = [row(m, "s", v, protocol=p) for p, vs in sides for m, v in zip(means, vs, strict=True)]
        return compare_rankings(rank_contenders(scored))

    (found,) = board(a=(0.9, 0.2), b=(0.8, 0.1), c=(0.7, 0.3))
    assert (found.protocol, found.reason) == ("loocv", None)
    assert found.kendall_tau == pytest.approx(-1 / 3)
    (one,) = board(a=(0.9, 0.2))
    assert one.kendall_tau is None
    assert "an order needs 2" in str(one.reason)
    (tied,) = board(a=(0.9, 0.2), b=(0.9, 0.3))
    assert "tied" in str(tied.reason)
    assert compare_rankings(rank_contenders([row("a", "s", 0.5)])) == ()


def test_sections_are_averaged_before_subjects_and_empty_values_left_out():
    rows = [
        row("m", "a", 0.2),
        row("m", "a", 0.4),
        row("m", "b", 0.9),
        row("m", "c", None),
        row("m", "a", 99, metric="hd95"),
    ]
    (entry,) = rank_contenders(rows)
    assert entry.mean == pytest.approx((0.3 + 0.9) / 2)
    assert entry.n_subjects == 2


def test_best_first_within_each_protocol():
    rows = [row(m, s, v, protocol=p) for p in ("loocv", "kfold3") for m, v in (("a", 0.5), ("b", 0.7)) for s in "xy"]
    entries = rank_contenders(rows)
    assert [(e.protocol, e.model) for e in entries] == [
        ("kfold3", "b"),
        ("kfold3", "a"),
        ("loocv", "b"),
        ("loocv", "a"),
    ]


def test_no_rows_no_entries():
    assert rank_contenders([]) == ()


def test_interval_is_scipys():
    values = [0.71, 0.8, 0.93, 0.65, 0.77]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((expected.low, expected.high))
    assert t_interval([0.5]) is None
    assert t_interval([0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("dataset", "label", "name"),
    [
        ("Carotid (EVG)", "unet", "carotid-evg-unet"),
        ("日本", "U Net", "u-net"),
        ("x" * 300, "unet", "x" * 95 + "-unet"),
        ("a", "z" * 300, None),
        ("--", "??", "model"),
    ],
)
def test_names_fit_the_registry(dataset, label, name):
    made = card_name(dataset, label)
    assert name in {None, made}
    card = make_card(made)
    assert card.name == made
    assert card.image_comparison == "none"


def make_card(name: str, *, dataset: str = "tissue"):
    return write_card(
        name,
        architecture=ArchitectureSpec(name="unet", input_px=512),
        dataset=Dataset(
            id="d",
            version="0" * 64,
            name=dataset,
            licence="CC0",
            classes=tuple(ClassSpec(index=i, name=n, color="#000000") for i, n in enumerate("ab")),
            cases=(),
        ),
        resolution=Resolution(mpp=None, pixel_scale=0.5),
        members=[Member(seed=0, onnx_sha256="0" * 64, bytes=1)],
        parameters={},
        start=RANDOM.start,
        scores=(),
        benchmark=None,
        parity_max_abs=0.0,
        parameter_count=1,
        dropout_rate=None,
    )


def test_models_of_synthetic_images_say_so():
    assert make_card("m", dataset="Synthetic arteries").synthetic
    assert not make_card("m").synthetic


def test_tiles_hold_the_typical_image():
    assert make_card("m").tile_px == 512


def test_scores_of_a_flat_search_are_marked():
    board = rank_contenders(
        [row("m", s, 0.5, protocol=p) for s in "ab" for p in ("loocv", "kfold3")] + [row("n", "a", 1)]
    )
    scores = protocol_scores(board, label="m", biased=frozenset({"loocv"}))
    assert {s.protocol: s.selection_biased for s in scores} == {"loocv": True, "kfold3": False}
    assert all(math.isclose(s.mean, 0.5) for s in scores)
