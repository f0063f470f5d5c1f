"""Measures and their 90 % intervals against the truth of synthetic arteries nobody trained on.

``python -m bench morphometry [--phantoms 50]``: the shipped model, on the path of POST /v1/segment, clean and under a
shift of stain and blur. Per measure bias and 95 % limits of agreement (Bland & Altman 1986), coverage of the intervals
with Clopper-Pearson intervals, and their mean width. The truth is the true mask, measured by the same code. A vessel
that was not found, or a measure without a value, has no interval and is counted apart.

Last, what the intervals under the shift cover if their evidence is from that shift: residuals of the first half of the
shifted arteries, coverage on the second half.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from bench.default_model import MPP, SIZE_PX, segment
from bench.samplers import SHIFTS
from intima.contracts.evidence import MeasuredPair, OutOfFoldEvidence
from intima.contracts.segmentation import Measure, UncertaintySummary, VesselMeasures
from intima.evidence.residuals import PairOf, pool_residuals
from intima.geometry import MicronsPerPixel
from intima.inference import load_model
from intima.labels import ARTERY
from intima.morphometry import measure_vessels
from intima.phantom import draw_specs, render
from intima.prediction_intervals import with_prediction_intervals
from intima.registry import publish_default
from intima.store.storage import open_storage

UNSEEN_SEED = 765_432
SHOWN = (
    "lumen_area",
    "neointimal_area",
    "medial_area",
    "iel_area",
    "eel_area",
    "intima_media_ratio",
    "stenosis",
    "intima_thickness_mean",
    "media_thickness_mean",
    "intima_ring_thickness",
    "media_ring_thickness",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One artery."""

    truth: dict[str, Measure]
    found: VesselMeasures
    """The largest vessel that was found, with its intervals."""
    summary: UncertaintySummary


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(Path(folder))
        model = load_model(storage, publish_default(storage).ref)
        evidence = model.card.evidence
        print(f"{model.version.ref}; {model.card.calibration}; {SIZE_PX} px at {MPP} um/px")
        if evidence is None:
            message = "The shipped model has no evidence; run python -m services.trainer.default_evidence."
            raise ValueError(message)
        for name, shift in SHIFTS.items():
            seen, missed = [], 0
            for named in draw_specs(
                seed=UNSEEN_SEED, subjects=arguments.phantoms, size_px=SIZE_PX, mpp=MPP, shift=shift
            ):
                phantom = render(named.spec)
                result = segment(storage, model, phantom)
                if not result.vessels or result.uncertainty is None:
                    missed += 1
                    continue
                true = measure_vessels(phantom.mask, schema=ARTERY, mpp=MicronsPerPixel(MPP, MPP))[0]
                truth = {m.name: m for m in true.measures}
                seen.append(Seen(truth, result.vessels[0], result.uncertainty))
            print(f"\n{arguments.phantoms} unseen SYNTHETIC arteries, {name}; {missed} without a vessel")
            table(seen)
            flagged = sum(bool(s.summary.review) for s in seen)
            print(f"flagged for review: {flagged} of {len(seen)}; coverage of the others:")
            table([s for s in seen if not s.summary.review], only=("intima_media_ratio", "stenosis"))
        half = len(seen) // 2
        print(f"\n{name}, with residuals of the first {half} of these arteries, on the other {len(seen) - half}")
        table(judged_by(seen[:half], seen[half:], evidence))
    return 0


def judged_by(before: Sequence[Seen], after: Sequence[Seen], evidence: OutOfFoldEvidence) -> list[Seen]:
    """Return arteries with the intervals that the errors on others give."""
    pairs = [PairOf(str(number), pair) for number, seen in enumerate(before) for pair in pairs_of(seen)]
    own = evidence.model_copy(update={"residuals": pool_residuals(pairs)})
    return [Seen(s.truth, with_prediction_intervals(s.found, own), s.summary) for s in after]


def pairs_of(seen: Seen) -> list[MeasuredPair]:
    """Return the measures that have a value in both."""
    return [
        MeasuredPair(vessel=1, name=m.name, predicted=m.value, truth=true, unit=m.unit, pass_sd=m.pass_sd)
        for m in seen.found.measures
        if m.value is not None and (true := seen.truth[m.name].value) is not None
    ]


def table(seen: Sequence[Seen], *, only: Sequence[str] = SHOWN) -> None:
    """Print one line per measure, and the coverage of all together."""
    print(f"  {'measure':<24}{'n':>4}{'bias':>10}{'limits of agreement':>26}{'coverage':>10}{'':>14}{'width':>10}")
    covered, counted = 0, 0
    for name in only:
        rows = [(m, s.truth[name].value) for s in seen for m in s.found.measures if m.name == name]
        errors = np.array([m.value - t for m, t in rows if m.value is not None and t is not None])
        spans = [(m.interval, t) for m, t in rows if m.interval is not None and t is not None]
        hits = sum(i.low <= t <= i.high for i, t in spans)
        widths = [i.high - i.low for i, _ in spans]
        bias, spread = errors.mean(), 1.96 * errors.std(ddof=1)
        low, high = stats.binomtest(hits, len(spans)).proportion_ci(0.95, method="exact")
        print(
            f"  {name:<24}{len(errors):>4}{bias:>10.3g}{f'{bias - spread:.3g} to {bias + spread:.3g}':>26}"
            f"{hits / len(spans):>10.2f}{f'[{low:.2f}, {high:.2f}]':>14}{np.mean(widths):>10.3g}"
            f"  {len(errors) - len(spans)} without an interval, {len(rows) - len(errors)} without a value",
            flush=True,
        )
        covered, counted = covered + hits, counted + len(spans)
    print(f"  all: {covered / counted:.3f} of {counted}")


if __name__ == "__main__":
    sys.exit(main())
