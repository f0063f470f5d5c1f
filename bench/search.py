"""Gaussian process against random search, pruning against none, and the HPO-noise audit.

``python -m bench search [--table 40] [--seeds 5] [--trials 20] [--real-seeds 0] [--audit-trials 3] [--audit-seeds 2]``:
nine SYNTHETIC arteries, unet_small at 64 px, preset quick, one thread. The searches run on a surrogate: kernel
regression on a table of real trainings of random configurations with their curves, whose leave-one-out R2 is printed.
It is smooth and has no noise, which suits a Gaussian process better than a real training does. ``--real-seeds``
searches real trainings besides, both samplers on the same inner split of each seed. The audit is real: on true labels,
and on labels shuffled between images, where nothing can be learned about a new image. A part with 0 is left out.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from intima.arrays import FloatMatrix, FloatVector, Json
from intima.benchmark import run_collect, run_fold, run_trial
from intima.contracts.benchmark import BenchmarkSpec, CollectResult, Pruner, TrialResult, UnitPlan, keys_read
from intima.contracts.dataset import ClassSpec, Dataset, StoredCase
from intima.contracts.search import CurvePoint, Gap, HpoNoise, ParameterValue, Range
from intima.labels import ARTERY
from intima.phantom import draw_specs, phantom_cases
from intima.schedule import plan_benchmark
from intima.spaces import default_space
from intima.store import catalog
from intima.store.storage import Storage, open_storage
from intima.store.work import UnitInput
from intima.training.audit import corrected_interval
from intima.training.pruning import is_hopeless
from intima.training.search import SamplerName, propose_parameters
from intima.training.seeds import derive_seed
from services.demo import png

SUBJECTS, SIZE_PX, MPP = 9, 192, 4.0
ARMS: dict[str, tuple[SamplerName, Pruner]] = {
    "gp": ("gp", "none"),
    "random": ("random", "none"),
    "gp pruned": ("gp", "median"),
}
HANDLERS = {"trial": run_trial, "fold": run_fold, "collect": run_collect}
MARKS = (5, 10, 20)
SPACE = default_space("unet_small")


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=int, default=40, help="real trainings behind the surrogate")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--real-seeds", type=int, default=0, help="searches of real trainings")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--audit-trials", type=int, default=3)
    parser.add_argument("--audit-seeds", type=int, default=2, help="three splits each; 0 leaves the audit out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(Path(folder))
        dataset = make_dataset(storage)
        if arguments.seeds:
            surrogate = Surrogate.of(train_table(storage, dataset, trials=arguments.table))
            print(f"surrogate of {arguments.table} trainings: scores {surrogate.values[:, -1].min():.3f} to "
                  f"{surrogate.values[:, -1].max():.3f}, leave-one-out R2 {surrogate.r2:+.2f}", flush=True)  # fmt: skip
            compare_arms(surrogate, seeds=arguments.seeds, trials=arguments.trials)
        if arguments.real_seeds:
            compare_real(storage, dataset, seeds=arguments.real_seeds, trials=arguments.trials)
        for labels in ("shuffled", "true") if arguments.audit_seeds else ():
            labelled = make_dataset(storage, shift=4) if labels == "shuffled" else dataset
            noise = audit(storage, labelled, trials=arguments.audit_trials, seeds=arguments.audit_seeds)
            for net, gap in (("same net", noise.selection), ("refitted net", noise.refitted)):
                print(f"audit, {labels} labels, {net}: {describe(gap)}", flush=True)
        storage.close()
    return 0


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Gaussian-kernel regression on real curves."""

    points: FloatMatrix
    """(trainings, parameters) in the unit cube, logarithms where the space has them."""
    values: FloatMatrix
    """(trainings, rungs) inner scores."""
    steps: tuple[int, ...]
    width: float
    r2: float
    """Of the last rung, leaving each training out in turn."""

    @classmethod
    def of(cls, table: Sequence[TrialResult]) -> "Surrogate":
        """Return the surrogate with the width that predicts left-out trainings best."""
        points = np.array([cube(t.parameters) for t in table])
        values = np.array([[p.value for p in t.curve] for t in table])
        found = [(left_out_r2(points, values[:, -1], width), width) for width in (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0)]
        r2, width = max(found)
        return cls(points, values, tuple(p.step for p in table[0].curve), width, r2)

    def curve(self, parameters: Mapping[str, ParameterValue]) -> tuple[CurvePoint, ...]:
        """Return the curve of a configuration."""
        weights = kernel(self.points, cube(parameters), self.width)
        values = weights @ self.values / weights.sum()
        return tuple(CurvePoint(step=s, value=float(v)) for s, v in zip(self.steps, values, strict=True))


def cube(parameters: Mapping[str, ParameterValue]) -> FloatVector:
    """Return a configuration in the unit cube."""
    place = []
    for name, span in SPACE.items():
        ends = (span.low, span.high) if isinstance(span, Range) else (0.0, 1.0)
        low, value, high = (
            np.log(v) if getattr(span, "log", False) else v for v in (ends[0], parameters[name], ends[1])
        )
        place.append((value - low) / (high - low))
    return np.array(place, dtype=np.float64)


def kernel(points: FloatMatrix, at: FloatVector, width: float) -> FloatVector:
    """Return the weight of each point."""
    return np.exp(-((points - at) ** 2).sum(axis=1) / (2 * width**2)) + 1e-12


def left_out_r2(points: FloatMatrix, values: FloatVector, width: float) -> float:
    """Return the share of variance that is predicted of trainings that were left out."""
    guesses = []
    for place in range(len(points)):
        weights = kernel(points, points[place], width)
        weights[place] = 0.0
        guesses.append(weights @ values / weights.sum())
    return float(1 - np.sum((values - guesses) ** 2) / np.sum((values - values.mean()) ** 2))


def train_table(storage: Storage, dataset: Dataset, *, trials: int) -> list[TrialResult]:
    """Train random configurations to the end, judged at their rungs."""
    plan = plan_trials(dataset, seed=0, sampler="random", pruner="median", trials=max(7, trials))[:trials]
    table: list[TrialResult] = []
    blind: dict[str, Json] = {}
    for unit in plan:
        work = UnitInput("bench", unit.key, 1, dict(unit.payload), dict(blind))
        table.append(TrialResult.model_validate(run_trial(work, storage, lambda _fraction, _message: None)))
        blind[unit.key] = table[-1].model_copy(update={"curve": ()}).model_dump(mode="json")
    return table


def plan_trials(dataset: Dataset, *, seed: int, **search: object) -> list[UnitPlan]:
    """Return the trials of one flat search over all nine subjects."""
    spec = make_spec(dataset, seeds=[seed], nested=False, **search)
    return [u for u in plan_benchmark(spec, dataset=dataset, benchmark="bench") if u.kind == "trial"]


def compare_real(storage: Storage, dataset: Dataset, *, seeds: int, trials: int) -> None:
    """Print the best inner scores of searches of real trainings by sampler."""
    arms: tuple[SamplerName, ...] = ("gp", "random")
    found: dict[str, list[list[TrialResult]]] = {arm: [] for arm in arms}
    for seed in range(seeds):
        for arm in arms:
            results = run_units(storage, plan_trials(dataset, seed=seed, sampler=arm, trials=trials))
            found[arm].append([TrialResult.model_validate(r) for r in results.values()])
        told = ", ".join(f"{arm} {best_after(s[-1], trials):.3f}" for arm, s in found.items())
        print(f"real trainings, seed {seed}: {told}", flush=True)
    report_best(found, [("gp", "random")], trials=trials)


def make_dataset(storage: Storage, *, shift: int = 0) -> Dataset:
    """Store nine synthetic arteries; image i gets the mask of image i + shift."""
    specs = draw_specs(seed=3, subjects=SUBJECTS, size_px=SIZE_PX, mpp=MPP)
    made = list(phantom_cases(specs))
    cases = tuple(
        StoredCase(
            case=f"{named.subject}-{named.section}.png",
            subject=named.subject,
            block=None,
            section=None,
            mpp=MPP,
            width=SIZE_PX,
            height=SIZE_PX,
            image_sha256=storage.blobs.put(png(phantom.image)),
            mask_sha256=storage.blobs.put(png(made[(place + shift) % len(made)][1].mask)),
        )
        for place, (named, phantom) in enumerate(made)
    )
    classes = tuple(ClassSpec(index=c.index, name=c.name, color=c.color) for c in ARTERY.classes)
    dataset = Dataset(
        id=f"ds_{shift}", version=f"{shift:064d}", name="synthetic", licence="synthetic", classes=classes, cases=cases
    )
    with storage.writing() as connection:
        catalog.add_dataset(connection, dataset)
    return dataset


def make_spec(dataset: Dataset, *, seeds: Sequence[int], nested: bool, **search: object) -> BenchmarkSpec:
    """Return a benchmark of one small contender."""
    return BenchmarkSpec.model_validate(
        {
            "dataset": dataset.id,
            "architectures": [{"name": "unet_small", "input_px": 64, "label": "small"}],
            "protocols": [{"kind": "kfold", "k": 3}],
            "seeds": seeds,
            "publish": False,
            "allow_leakage": "phantoms, drawn one by one",
            "search": {**search, "nested": nested},
        }
    )


def run_units(storage: Storage, units: Sequence[UnitPlan]) -> dict[str, Json]:
    """Run units in the order of their plan."""
    results: dict[str, Json] = {}
    for unit in units:
        seen = {key: results[key] for key in (*unit.needs, *unit.after, *keys_read(unit.payload))}
        work = UnitInput("bench", unit.key, 1, dict(unit.payload), seen)
        results[unit.key] = HANDLERS[unit.kind](work, storage, lambda _fraction, _message: None)
    return results


def run_study(surrogate: Surrogate, *, arm: str, seed: int, trials: int) -> list[TrialResult]:
    """Search the surrogate as ``run_trial`` searches a training."""
    sampler, pruner = ARMS[arm]
    results: list[TrialResult] = []
    for number in range(trials):
        parameters = propose_parameters(
            SPACE,
            number=number,
            parallel=1,
            earlier=results,
            sampler=sampler,
            seed_of=lambda trial: derive_seed("bench", seed, trial),
        )
        curve = surrogate.curve(parameters)
        rungs = (curve[: end + 1] for end in range(len(curve) - 1))
        stopped = next((c for c in rungs if pruner == "median" and is_hopeless(c, earlier=results)), None)
        value = curve[-1].value if stopped is None else None
        results.append(
            TrialResult(
                parameters=parameters, value=value, curve=stopped or curve, pruned=stopped is not None, seconds=0
            )
        )
    return results


def compare_arms(surrogate: Surrogate, *, seeds: int, trials: int) -> None:
    """Print the best inner score after some trials by arm, and what pruning saves."""
    found: dict[str, list[list[TrialResult]]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        for arm, studies in found.items():
            studies.append(run_study(surrogate, arm=arm, seed=seed, trials=trials))
        told = ", ".join(f"{arm} {best_after(s[-1], trials):.3f} in {steps(s[-1])} steps" for arm, s in found.items())
        print(f"seed {seed}: {told}", flush=True)
    report_best(found, [("gp", "random"), ("gp pruned", "gp")], trials=trials)
    report_saving(found["gp pruned"], found["gp"])
    report_equal_steps(found, arm="gp pruned")


def report_best(
    found: Mapping[str, Sequence[list[TrialResult]]], pairs: Sequence[tuple[str, str]], *, trials: int
) -> None:
    """Print the median best score after some trials by arm, and differences of pairs of arms over the same seeds."""
    marks = [m for m in MARKS if m <= trials]
    print(f"best inner macro Dice so far, median over {len(found[pairs[0][0]])} seeds")
    print(f"{'arm':<12}" + "".join(f"{f'{m} trials':>11}" for m in marks) + f"{'steps':>9}{'pruned':>8}")
    for arm, studies in found.items():
        medians = [statistics.median(best_after(s, m) for s in studies) for m in marks]
        total, stopped = sum(map(steps, studies)), sum(t.pruned for s in studies for t in s)
        print(f"{arm:<12}" + "".join(f"{m:>11.3f}" for m in medians) + f"{total:>9}{stopped:>8}")
    for arm, other in pairs:
        for mark in marks:
            gaps = [best_after(a, mark) - best_after(b, mark) for a, b in zip(found[arm], found[other], strict=True)]
            print(f"{arm} - {other} after {mark}: {signed(statistics.fmean(gaps))} "
                  f"{interval(corrected_interval(gaps, test_share=0.0))}", flush=True)  # fmt: skip


def report_saving(pruned: Sequence[list[TrialResult]], plain: Sequence[list[TrialResult]]) -> None:
    """Print the steps until the lower of both final bests is reached, with and without pruning."""
    pairs = []
    for one, two in zip(pruned, plain, strict=True):
        goal = min(best_after(one, len(one)), best_after(two, len(two)))
        pairs.append((steps_to(one, goal), steps_to(two, goal)))
    saved = 1 - sum(map(steps, pruned)) / sum(map(steps, plain))
    to_goal = ", ".join(f"{a}/{b}" for a, b in pairs)
    print(
        f"steps to the same best inner score, pruned/none, by seed: {to_goal}; steps of all trials saved: {saved:.0%}"
    )


def report_equal_steps(found: Mapping[str, Sequence[list[TrialResult]]], *, arm: str) -> None:
    """Print how an arm that prunes compares with the others when they have used as many steps as it did in all."""
    for other in [name for name in found if name != arm]:
        pairs = zip(found[arm], found[other], strict=True)
        gaps = [best_after(a, len(a)) - best_within(b, steps(a)) for a, b in pairs]
        print(f"{arm} - {other} at equal steps: {signed(statistics.fmean(gaps))} "
              f"{interval(corrected_interval(gaps, test_share=0.0))}", flush=True)  # fmt: skip


def best_within(study: Sequence[TrialResult], budget: int) -> float:
    """Return the best inner score of the trials that end within a budget of optimiser steps."""
    return best_after(study, max(n for n in range(1, len(study) + 1) if steps(study[:n]) <= budget))


def best_after(study: Sequence[TrialResult], trials: int) -> float:
    """Return the best inner score of the first trials."""
    return max(t.value for t in study[:trials] if t.value is not None)


def steps(study: Sequence[TrialResult]) -> int:
    """Return the optimiser steps of a study; an unpruned trial without a curve took them all."""
    full = max((t.curve[-1].step for t in study if t.curve), default=0)
    return sum(t.curve[-1].step if t.curve else full for t in study)


def steps_to(study: Sequence[TrialResult], goal: float) -> int:
    """Return the optimiser steps until a score is reached."""
    first = next(place for place, t in enumerate(study) if t.value is not None and t.value >= goal)
    return steps(study[: first + 1])


def audit(storage: Storage, dataset: Dataset, *, trials: int, seeds: int) -> HpoNoise:
    """Run a nested benchmark, 3-fold for each seed, and return its audit."""
    spec = make_spec(dataset, seeds=list(range(seeds)), nested=True, trials=trials)
    results = run_units(storage, plan_benchmark(spec, dataset=dataset, benchmark="bench"))
    return CollectResult.model_validate(results["collect"]).hpo_noise[0]


def describe(gap: Gap | None) -> str:
    """Return a gap with its intervals."""
    if gap is None:
        return "none"
    return (
        f"{gap.splits} splits, inner best - outer {signed(gap.mean)}, "
        f"t {interval(gap.ci95)}, corrected {interval(gap.ci95_corrected)}"
    )


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.3f}"


def interval(limits: tuple[float, float] | None) -> str:
    """Return an interval as text."""
    return "[none]" if limits is None else f"[{limits[0]:+.3f}, {limits[1]:+.3f}]"


if __name__ == "__main__":
    sys.exit(main())
