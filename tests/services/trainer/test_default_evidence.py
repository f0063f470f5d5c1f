"""The evidence of the shipped model: on arteries of their own, and what the card says is what is measured."""

from dataclasses import asdict
from importlib.resources import files
from itertools import islice

import pytest

from bench import calibration, default_model, morphometry, samplers
from intima.contracts.model import ModelCard
from intima.phantom import draw_specs
from services.trainer import default_evidence
from services.trainer import default_model as training

CARD = files("intima").joinpath("assets/default_model/card.json")


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return ModelCard.model_validate_json(CARD.read_bytes())


def test_no_artery_of_the_evidence_is_one_of_training_of_scores_or_of_benches():
    seen = [asdict(n.spec) for n in default_evidence.held_out_specs()]
    others = [n.spec for n in training.training_specs()]
    others += [n.spec for n in draw_specs(seed=training.HELD_OUT_SEED, subjects=training.HELD_OUT)]
    for bench in (default_model, samplers, calibration, morphometry):
        others += [n.spec for n in draw_specs(seed=bench.UNSEEN_SEED, subjects=50)]
    anatomies = [asdict(spec)["anatomy"] for spec in others]
    assert len(seen) == default_evidence.LIKE_TRAINING + default_evidence.ELSEWHERE
    assert not any(spec["anatomy"] in anatomies for spec in seen)
    assert len({str(spec["anatomy"]) for spec in seen}) == len(seen)


def test_the_card_counts_every_artery_as_a_subject_and_claims_no_fold(card):
    assert card.evidence.basis == "held-out synthetic phantoms"
    assert card.evidence.protocol is None
    assert card.evidence.subjects == card.evidence.cases == 48
    assert card.evidence.members == len(card.members)
    assert not card.evidence.selection_biased
    assert {r.name for r in card.evidence.residuals if r.base is not None} >= {"intima_media_ratio", "stenosis"}
    assert all(m.subjects >= 24 for m in card.evidence.margins)


def test_the_first_artery_is_measured_again(card):
    """A smoke test of the command; the card pools what it yields."""
    (first,) = islice(default_evidence.gather(card), 1)
    assert first.passes == card.evidence.passes == 8
    assert first.dice > 0.97
    assert {p.name for p in first.pairs} >= {"intima_media_ratio", "stenosis", "medial_area"}
