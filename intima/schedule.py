"""Cut a benchmark into units: which there are, what each needs, what runs at once. Pure planning.

The plan is the whole graph, made once at submission: trials of one study form a chain (each sees the results
of those before it, so a search gives the same answer on one worker and on four), folds follow their study,
the final ensemble follows a study over all data and is published once its contender's own folds are scored, and the
scores table follows the end of all folds, so that one that fails costs its own contender and nobody else. Units are
taken in this order as they become ready: all that the table waits for, the table, then the final ensembles.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from intima.architectures import ARCHITECTURES, complete_architecture
from intima.contracts._base import Contract
from intima.contracts.benchmark import (
    ArchitectureSpec,
    BenchmarkSpec,
    CollectPayload,
    EncoderStart,
    ExternalPayload,
    FitPayload,
    FoldPayload,
    IncompletePart,
    Preset,
    PublishPayload,
    Series,
    Split,
    StudyRef,
    TrialPayload,
    UnitPlan,
)
from intima.contracts.dataset import ClassSpec, Dataset
from intima.contracts.splits import StoredSplits
from intima.errors import Invalid
from intima.folds import EXTERNAL, inner_split, outer_splits, seeds_of
from intima.leakage import Division, External, Leak, external_leaks, find_leaks, refuse_leaks, refuse_uncompared
from intima.spaces import PROMPT_TOKENS, complete_space

MAX_UNITS = 20_000
MAX_NEEDS = 2_000_000
NO_SPLITS: Mapping[str, StoredSplits] = {}
Starts: TypeAlias = Mapping[str, Mapping[str, EncoderStart]]
"""What the encoders start from: by label of the contender, then by encoder."""
NO_STARTS: Starts = {}
TRIALS: dict[Preset, int] = {"quick": 2, "standard": 20, "paper": 200}
"""Search trials per study where the spec names none."""
PRUNED_FROM = 6
"""Studies of at most this many trials are not pruned, nor judged on the way: the first five always run to the end."""


def plan_benchmark(
    spec: BenchmarkSpec,
    *,
    dataset: Dataset,
    benchmark: str,
    imported: Mapping[str, StoredSplits] = NO_SPLITS,
    external: External | None = None,
    starts: Starts = NO_STARTS,
) -> tuple[UnitPlan, ...]:
    """Return every unit of a benchmark in an order in which each stands behind its needs.

    ``imported`` holds the imported splits that the spec names, by id; ``external`` the dataset it names; ``starts``
    what ``intima.starts`` has resolved, and where it holds nothing every unit looks for weights of its own.

    Raises:
        Invalid: the dataset has too few subjects for a protocol, the external dataset does not fit, or a split
            leaks, or may for all that is known, and no reason is given why it may.
    """
    _refuse_misfit(spec, dataset=dataset, external=external)
    splits = outer_splits(spec, dataset=dataset, imported=imported)
    if spec.allow_leakage is None:
        refuse_uncompared(dataset)
        refuse_leaks(benchmark_leaks(spec, dataset=dataset, imported=imported, external=external))
    _refuse_unsearchable(spec, splits=[s for drawn in splits.values() for s in drawn], dataset=dataset)
    _refuse_huge(spec, folds=sum(map(len, splits.values())))
    _refuse_unused_prompts(spec)
    units: list[UnitPlan] = []
    for label, architecture in label_architectures([complete_architecture(a) for a in spec.architectures]).items():
        units += _contender_units(
            spec,
            label=label,
            architecture=architecture,
            splits=splits,
            benchmark=benchmark,
            starts=starts.get(label, {}),
        )
    scored = tuple(u.key for u in units if u.kind in {"fold", "external"})
    payload = CollectPayload(benchmark=benchmark, dataset=spec.dataset)
    return _table_first(units, _unit("collect", "collect", after=scored, payload=payload))


def _table_first(units: Sequence[UnitPlan], collect: UnitPlan) -> tuple[UnitPlan, ...]:
    """Order units so that what the scores table waits for stands before all that it does not wait for."""
    needs = {u.key: (*u.needs, *u.after) for u in units}
    awaited, ahead = set[str](), list(collect.after)
    while ahead:
        key = ahead.pop()
        if key not in awaited:
            awaited.add(key)
            ahead += needs[key]
    return (*(u for u in units if u.key in awaited), collect, *(u for u in units if u.key not in awaited))


def benchmark_leaks(
    spec: BenchmarkSpec,
    *,
    dataset: Dataset,
    imported: Mapping[str, StoredSplits] = NO_SPLITS,
    external: External | None = None,
) -> tuple[Leak, ...]:
    """Return what the leakage guard finds in the outer and inner splits and the external dataset, allowed or not."""
    splits = outer_splits(spec, dataset=dataset, imported=imported)
    inside = find_leaks(_divisions(spec, splits=splits, dataset=dataset), dataset=dataset)
    return inside if external is None else (*inside, *external_leaks(dataset, external))


def _divisions(spec: BenchmarkSpec, *, splits: Mapping[int, Sequence[Split]], dataset: Dataset) -> Iterator[Division]:
    """Yield every outer split once, and every inner split that a search makes of one."""
    places = {name: i for i, name in enumerate(dict.fromkeys(s.protocol for s in splits[spec.seeds[0]]))}
    for split in dict.fromkeys(s for drawn in splits.values() for s in drawn):
        yield Division(_split_name(split), f"/protocols/{places[split.protocol]}", split.train, split.test)
    if trial_count(spec) == 0:
        return
    if spec.search.nested:
        for seed, drawn in splits.items():
            for split in drawn:
                yield from _inner_division(spec, split.train, seed, f"the search in {_split_name(split)}", dataset)
    if _searches_everything(spec):
        everything = tuple(c.case for c in dataset.cases)
        yield from _inner_division(spec, everything, spec.seeds[0], "the search on all data", dataset)


def _inner_division(
    spec: BenchmarkSpec, cases: tuple[str, ...], seed: int, name: str, dataset: Dataset
) -> Iterator[Division]:
    subject_of = {c.case: c.subject for c in dataset.cases}
    if len({subject_of[c] for c in cases}) > 1:
        fit, validation = inner_split(subject_of, cases=cases, seed=seeds_of(spec, seed).split)
        yield Division(f"the inner split of {name}", "/search", fit, validation)


def _split_name(split: Split) -> str:
    repeat = f", repeat {split.repeat}" if split.repeat else ""
    return f"fold {split.fold} of {split.protocol}{repeat}"


def label_architectures(architectures: Sequence[ArchitectureSpec]) -> dict[str, ArchitectureSpec]:
    """Name each contender: its label, else its architecture, with encoder and input size where two would collide.

    Raises:
        Invalid: two contenders are the same.
    """
    names = [a.name for a in architectures]
    labels: dict[str, ArchitectureSpec] = {}
    for position, a in enumerate(architectures):
        label = a.label or (a.name if names.count(a.name) == 1 else f"{a.name}-{a.encoder}-{a.input_px}")
        if label in labels or "/" in label:
            raise Invalid(
                f"Got two contenders named {label!r}, or a name with a slash.",
                hint="Give each architecture a label of its own, without slashes.",
                pointer=f"/architectures/{position}/label",
            )
        labels[label] = a
    return labels


def _searches_everything(spec: BenchmarkSpec) -> bool:
    """Tell whether a search over all data is needed: for a final ensemble, or for a flat search."""
    return spec.publish or spec.external_dataset is not None or not spec.search.nested


def _refuse_misfit(spec: BenchmarkSpec, *, dataset: Dataset, external: External | None) -> None:
    """Refuse an external dataset that is the same, has other classes, or lacks the pixel sizes that training has."""
    if external is None and spec.external_dataset is not None:
        raise _misfit(f"There is no external dataset {spec.external_dataset!r} at hand.", "dataset_not_found")
    if external is None:
        return
    second = external.dataset
    if second.id == dataset.id:
        raise _misfit("The external dataset is the one that is trained on.", "external_is_training")
    wanted, found = ([(c.index, c.name) for c in sorted(d.classes, key=_index)] for d in (dataset, second))
    if wanted != found:
        raise _misfit(
            f"The external dataset has the classes {[n for _, n in found]}; need {[n for _, n in wanted]}.",
            "external_classes",
        )
    bare = next((c.case for c in second.cases if c.mpp is None), None)
    if bare is not None and all(c.mpp is not None for c in dataset.cases):
        raise _misfit(
            f"Case {bare!r} of the external dataset states no pixel size; every case that is trained on does.",
            "external_pixel_size",
        )


def _index(spec: ClassSpec) -> int:
    return spec.index


def _misfit(message: str, code: str) -> Invalid:
    hint = "Give a second dataset of the same classes, with pixel sizes where the first has them."
    return Invalid(message, code=code, hint=hint, pointer="/external_dataset")


def _refuse_unsearchable(spec: BenchmarkSpec, *, splits: Sequence[Split], dataset: Dataset) -> None:
    """A nested search needs two subjects on each outer training side: one to fit on, one to validate on."""
    subject_of = {c.case: c.subject for c in dataset.cases}
    fewest = min(len({subject_of[c] for c in split.train}) for split in splits)
    if trial_count(spec) and spec.search.nested and fewest < 2:
        raise Invalid(
            f"Got {len(dataset.subjects)} subjects; a nested search needs 2 in every outer training set.",
            code="too_few_subjects",
            hint="Add subjects, or set search.trials to 0.",
            pointer="/search/trials",
        )


def _refuse_unused_prompts(spec: BenchmarkSpec) -> None:
    """Refuse to search prompt tokens where no contender has prompts; one that has none leaves them out."""
    if PROMPT_TOKENS in spec.search.space and not any(ARCHITECTURES[a.name].has_prompts for a in spec.architectures):
        raise Invalid(
            "Got a search of prompt_tokens, but no architecture of this benchmark has prompts.",
            code="bad_search_space",
            pointer=f"/search/space/{PROMPT_TOKENS}",
        )


def _refuse_huge(spec: BenchmarkSpec, *, folds: int) -> None:
    """Refuse a plan that the ledger could only write by keeping every worker waiting."""
    trials = trial_count(spec)
    studies = folds + 1 if spec.search.nested else 1
    units = len(spec.architectures) * (studies * trials + folds + spec.members + 2)
    needs = len(spec.architectures) * studies * trials * (spec.search.parallel + 1)
    if units > MAX_UNITS or needs > MAX_NEEDS:
        raise Invalid(
            f"Got a benchmark of {units} units with {needs} dependences; the limits are {MAX_UNITS} and {MAX_NEEDS}.",
            code="benchmark_too_large",
            hint="Take fewer trials, repeats, seeds or architectures, or submit several benchmarks.",
            pointer="/search/trials",
        )


def trial_count(spec: BenchmarkSpec) -> int:
    """Return the trials of each study: what the spec says, else what its preset says."""
    return TRIALS[spec.preset] if spec.search.trials is None else spec.search.trials


def _contender_units(
    spec: BenchmarkSpec,
    *,
    label: str,
    architecture: ArchitectureSpec,
    splits: Mapping[int, Sequence[Split]],
    benchmark: str,
    starts: Mapping[str, EncoderStart],
) -> Iterator[UnitPlan]:
    space = complete_space(architecture, spec.search.space)
    kind = next((start.kind for start in starts.values()), architecture.weights)
    final = StudyRef(
        architecture=architecture.model_copy(update={"weights": kind}),
        label=label,
        seed=spec.seeds[0],
        seeds=seeds_of(spec, spec.seeds[0]),
        split=None,
        space=space,
        starts=dict(starts),
    )
    searched = Series(prefix=f"{label}/final/trial", count=0)
    if _searches_everything(spec):
        searched = Series(prefix=searched.prefix, count=trial_count(spec))
        yield from _trial_units(spec, study=final, series=searched)
    folds: list[str] = []
    for seed, drawn in splits.items():
        for split in drawn:
            planned = tuple(_fold_units(spec, final=final, split=split, seed=seed, flat=searched))
            folds += [unit.key for unit in planned if unit.kind == "fold"]
            yield from planned
    if spec.publish or spec.external_dataset is not None:
        yield from _final_units(spec, study=final, trials=searched, folds=tuple(folds), benchmark=benchmark)


def _trial_units(spec: BenchmarkSpec, *, study: StudyRef, series: Series) -> Iterator[UnitPlan]:
    """Plan a study. Trial k sees trials 0..k - parallel; it needs the last of them, which stand behind the others."""
    parallel = spec.search.parallel
    budget_s = None if spec.search.minutes is None else spec.search.minutes * 60.0
    for number, key in enumerate(series.keys):
        seen = Series(prefix=series.prefix, count=max(0, number - parallel + 1))
        payload = TrialPayload(
            dataset=spec.dataset,
            study=study,
            reads=seen,
            number=number,
            parallel=parallel,
            sampler=spec.search.sampler,
            pruner=spec.search.pruner if series.count > PRUNED_FROM else "none",
            budget_s=budget_s,
            preset=spec.preset,
        )
        yield _unit(key, "trial", needs=seen.keys[-parallel:], payload=payload)


def _fold_units(spec: BenchmarkSpec, *, final: StudyRef, split: Split, seed: int, flat: Series) -> Iterator[UnitPlan]:
    prefix = f"{final.label}/{split.protocol}/r{split.repeat}/f{split.fold}/s{seed}"
    study = final.model_copy(update={"seed": seed, "seeds": seeds_of(spec, seed), "split": split})
    trials = flat
    if spec.search.nested:
        trials = Series(prefix=f"{prefix}/trial", count=trial_count(spec))
        yield from _trial_units(spec, study=study, series=trials)
    payload = FoldPayload(
        dataset=spec.dataset,
        study=study,
        reads=trials,
        split=split,
        selection_biased=bool(flat.count) and not spec.search.nested,
        leakage_override=spec.allow_leakage is not None,
        preset=spec.preset,
    )
    yield _unit(f"{prefix}/fold", "fold", needs=trials.keys[-spec.search.parallel :], payload=payload)


def _final_units(
    spec: BenchmarkSpec, *, study: StudyRef, trials: Series, folds: tuple[str, ...], benchmark: str
) -> Iterator[UnitPlan]:
    fits = tuple(f"{study.label}/final/member{m}" for m in range(spec.members))
    for member, key in enumerate(fits):
        fit = FitPayload(dataset=spec.dataset, study=study, reads=trials, member=member, preset=spec.preset)
        yield _unit(key, "fit", needs=trials.keys[-spec.search.parallel :], payload=fit)
    scored: tuple[str, ...] = ()
    if spec.external_dataset is not None:
        external = ExternalPayload(
            dataset=spec.dataset,
            external=spec.external_dataset,
            study=study,
            preset=spec.preset,
            leakage_override=spec.allow_leakage is not None,
        )
        scored = (f"{study.label}/final/external",)
        yield _unit(*scored, "external", needs=fits, payload=external)
    if spec.publish:
        publish = PublishPayload(
            dataset=spec.dataset,
            benchmark=benchmark,
            study=study,
            preset=spec.preset,
            leakage_override=spec.allow_leakage,
        )
        yield _unit(f"{study.label}/final/publish", "publish", needs=(*fits, *folds), after=scored, payload=publish)


def incomplete_parts(failures: Mapping[str, str]) -> tuple[IncompletePart, ...]:
    """Return what is missing of which contender, from why units of kind fold, external, fit and publish have no result.

    >>> incomplete_parts({"unet/loocv/r0/f0/s0/fold": "killed: ...", "unet/loocv/r0/f1/s0/fold": "diverged: ..."})
    (IncompletePart(model='unet', protocol='loocv', missing=2, unit='unet/loocv/r0/f0/s0/fold', reason='killed: ...'),)
    """
    units: dict[tuple[str, str | None], list[str]] = {}
    for key in failures:
        units.setdefault(_part_of(key), []).append(key)
    return tuple(
        IncompletePart(model=model, protocol=protocol, missing=len(keys), unit=keys[0], reason=failures[keys[0]])
        for (model, protocol), keys in units.items()
    )


def _part_of(key: str) -> tuple[str, str | None]:
    """Return contender and protocol of a scoring unit; no protocol for the units of the final model."""
    label, middle, *_, end = key.split("/")
    if middle != "final":
        return label, middle
    return label, EXTERNAL if end == "external" else None


def _unit(
    key: str, kind: str, *, needs: tuple[str, ...] = (), after: tuple[str, ...] = (), payload: Contract
) -> UnitPlan:
    return UnitPlan.model_validate(
        {
            "key": key,
            "kind": kind,
            "queue": "training",
            "needs": needs,
            "after": after,
            "payload": payload.model_dump(mode="json", by_alias=True),
        }
    )
