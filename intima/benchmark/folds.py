"""A fold: fit on the outer training set, score on the test set; and the one table of all folds."""

import time
from itertools import chain

from intima.arrays import Json
from intima.benchmark.held_out import gather_held_out
from intima.benchmark.recipe import (
    audited_outer_value,
    chosen_parameters,
    encoder_seed,
    make_recipe,
    read_dataset,
    score_net,
    seeds_for,
    starting_weights,
    to_json,
    train_net,
    trials_behind,
)
from intima.contracts.benchmark import (
    CollectPayload,
    CollectResult,
    EncoderStart,
    ExternalResult,
    FoldPayload,
    FoldResult,
    ScoreRow,
)
from intima.contracts.search import StudySummary
from intima.errors import Invalid
from intima.formats.tables import scores_csv
from intima.schedule import incomplete_parts
from intima.store.storage import Storage
from intima.store.work import Report, UnitInput
from intima.training.audit import hpo_noise
from intima.training.curves import TrainingCurves
from intima.training.importance import summarise_study
from intima.training.leaderboard import compare_rankings, rank_contenders
from intima.training.presets import PRESETS
from intima.training.scoring import ScoredCase
from intima.training.weights import pack_weights


def run_fold(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Train on the outer training set with the best parameters of the search, score every test case natively.

    The trained net is kept, so that it can be explained.
    """
    started = time.monotonic()
    payload = FoldPayload.model_validate(unit.payload)
    dataset = read_dataset(storage, payload.dataset)
    recipe = make_recipe(
        dataset, payload.study, settings=PRESETS[payload.preset], parameters=chosen_parameters(unit, payload.study)
    )
    seeds = seeds_for("fold", payload.study)
    losses = TrainingCurves(report)
    start = starting_weights(storage, recipe)
    net = train_net(
        storage,
        recipe,
        cases=payload.split.train,
        seeds=seeds,
        report=report,
        record=losses.add,
        weights=start,
    )
    scored = score_net(storage, recipe, net, cases=payload.split.test, report=report)
    rows = tuple(row for item in scored for row in score_rows(item, payload, start=start.start))
    evidence = gather_held_out(storage, recipe, net, cases=payload.split.test, report=report)
    weights = storage.blobs.put(pack_weights(net, seed=seeds.init, encoder_seed=encoder_seed(recipe.study)))
    seconds = time.monotonic() - started
    result = FoldResult(
        parameters=recipe.parameters,
        rows=rows,
        seconds=seconds,
        weights_sha256=weights,
        search=_audited_search(unit, payload),
        losses=losses.points(),
        start=start.start,
        train_subjects=len({c.subject for c in dataset.cases if c.case in payload.split.train}),
        evidence=evidence,
    )
    return to_json(result)


def _audited_search(unit: UnitInput, payload: FoldPayload) -> StudySummary | None:
    """Return the summary of the search behind a fold, with what its winner scores outside."""
    search = summarise_study(payload.study.space, trials_behind(unit))
    if search is None:
        return None
    return search.model_copy(update={"outer_value": audited_outer_value(unit, best=search.best)})


def run_collect(unit: UnitInput, storage: Storage, report: Report) -> Json:
    """Gather the scores there are into one table, and rank the contenders that are complete under a protocol.

    A mean over the folds that did not fail would flatter or wrong a contender, so an incomplete one has no rank; its
    scores are true and stay in the table.

    Raises:
        Invalid: there is no score at all.
    """
    CollectPayload.model_validate(unit.payload)
    keys = sorted(unit.results)
    folds = [FoldResult.model_validate(unit.results[key]) for key in keys if not key.endswith("/external")]
    outside = [ExternalResult.model_validate(unit.results[key]) for key in keys if key.endswith("/external")]
    scored = [fold.rows for fold in folds] + [result.rows for result in outside]
    rows = sorted(chain.from_iterable(scored), key=_row_order)
    if not rows:
        raise Invalid("No fold of any contender has a score.", code="no_scores", hint="See why the folds failed.")
    table = storage.blobs.put(scores_csv(rows))
    skipped = sum(row.value is None for row in rows)
    report(1.0, f"{len(rows)} scores of {len(folds)} folds")
    incomplete = incomplete_parts(unit.failures)
    left_out = {(part.model, part.protocol) for part in incomplete}
    board = rank_contenders([row for row in rows if (row.model, row.protocol) not in left_out])
    whole = [f for f in folds if not f.rows or (f.rows[0].model, f.rows[0].protocol) not in left_out]
    result = CollectResult(
        scores_sha256=table,
        incomplete=incomplete,
        leaderboard=board,
        hpo_noise=hpo_noise(whole),
        external=compare_rankings(board),
        skipped=skipped,
    )
    return to_json(result)


def score_rows(item: ScoredCase, payload: FoldPayload, *, start: EncoderStart | None) -> list[ScoreRow]:
    """Return the scores of one case as rows of the table; ``start`` is what the encoder started from, if known."""
    shared = {
        "case": item.case.case,
        "subject": item.case.subject,
        "protocol": payload.split.protocol,
        "repeat": payload.split.repeat,
        "fold": payload.split.fold,
        "seed": payload.study.seed,
        "split_seed": payload.split.seed,
        "init_seed": payload.study.seeds.init,
        "augmentation_seed": payload.study.seeds.augmentation,
        "architecture": payload.study.architecture.name,
        "model": payload.study.label,
        "selection_biased": payload.selection_biased,
        "leakage_override": payload.leakage_override,
        "encoder_weights": None if start is None else start.kind,
    }
    return [
        ScoreRow.model_validate({**shared, "class": s.class_name, "metric": s.metric, "value": s.value, "unit": s.unit})
        for s in item.scores
    ]


def _row_order(row: ScoreRow) -> tuple[str, str, int, int, int, str, str, str]:
    return (row.model, row.protocol, row.seed, row.repeat, row.fold, row.case, row.metric, row.class_)
