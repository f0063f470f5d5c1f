"""Use case: a benchmark -> its experiment table, page by page or whole."""

from collections.abc import Iterator

from sqlalchemy import Connection

from intima.arrays import Json
from intima.contracts.benchmark import (
    FitPayload,
    FitResult,
    FoldPayload,
    FoldResult,
    StudyRef,
    TrialPayload,
    TrialResult,
)
from intima.contracts.experiment import ExperimentRow, LiveCurves
from intima.contracts.job import UnitState
from intima.labels import MACRO
from intima.store import catalog, ledger
from intima.store.ledger import StoredUnit
from intima.store.paging import MAX_PAGE_SIZE, Page
from intima.subjects import mean_over_subjects

KINDS = ("trial", "fold", "fit")


def page_experiments(
    conn: Connection,
    benchmark_id: str,
    *,
    state: UnitState | None = None,
    page_size: int = 50,
    page_token: str = "",
) -> Page[ExperimentRow]:
    """Return one page of a benchmark's trainings in the order of its plan, finished or not, or those of one state.

    Raises:
        NotFound: no such benchmark.
        Invalid: a bad page.
    """
    job_id = catalog.get_benchmark(conn, benchmark_id).job_id
    page = ledger.page_units(
        conn, job_id, kinds=KINDS, states=[state] if state else (), page_size=page_size, page_token=page_token
    )
    return page.map(_row)


def all_experiments(conn: Connection, benchmark_id: str) -> Iterator[ExperimentRow]:
    """Yield a benchmark's trainings in the order of its plan. Raises NotFound."""
    token = ""
    while True:
        page = page_experiments(conn, benchmark_id, page_size=MAX_PAGE_SIZE, page_token=token)
        yield from page.items
        token = page.next_page_token
        if not token:
            return


def _row(unit: StoredUnit) -> ExperimentRow:
    study, number, biased = _study(unit)
    split = study.split
    bare = ExperimentRow(
        unit=unit.key,
        kind=unit.kind,
        state=unit.state,
        model=study.label,
        architecture=study.architecture.name,
        encoder=study.architecture.encoder,
        encoder_weights=study.architecture.weights,
        encoder_training=study.architecture.encoder_training,
        input_px=study.architecture.input_px,
        protocol=None if split is None else split.protocol,
        repeat=None if split is None else split.repeat,
        fold=None if split is None else split.fold,
        seed=study.seed,
        split_seed=study.seeds.split,
        init_seed=study.seeds.init,
        augmentation_seed=study.seeds.augmentation,
        number=number,
        parameters={},
        value=None,
        pruned=False,
        selection_biased=biased,
        curve=(),
        losses=(),
        seconds=None,
        started_at=unit.started_at,
        finished_at=unit.finished_at,
        error=unit.error,
        artefacts={},
    )
    if unit.result is not None:
        return bare.model_copy(update=_outcome(unit.kind, unit.result))
    if unit.live is None:
        return bare
    live = LiveCurves.model_validate(unit.live)
    return bare.model_copy(update={"curve": live.curve, "losses": live.losses})


def _study(unit: StoredUnit) -> tuple[StudyRef, int | None, bool]:
    """Return the study of a unit, its number, and whether its search has seen what it is scored on."""
    if unit.kind == "trial":
        trial = TrialPayload.model_validate(unit.payload)
        return trial.study, trial.number, False
    if unit.kind == "fold":
        fold = FoldPayload.model_validate(unit.payload)
        # in a flat search the study is of all cases; the fold's own split says what was held out
        return fold.study.model_copy(update={"split": fold.split}), None, fold.selection_biased
    fit = FitPayload.model_validate(unit.payload)
    return fit.study, fit.member, False


def _outcome(kind: str, result: Json) -> Json:
    if kind == "trial":
        trial = TrialResult.model_validate(result)
        return {
            "parameters": trial.parameters,
            "value": trial.value,
            "curve": trial.curve,
            "losses": trial.losses,
            "pruned": trial.pruned,
            "seconds": trial.seconds,
        }
    if kind == "fold":
        fold = FoldResult.model_validate(result)
        return {
            "parameters": fold.parameters,
            "value": _macro_dice(fold),
            "losses": fold.losses,
            "seconds": fold.seconds,
            "artefacts": {} if fold.weights_sha256 is None else {"weights": fold.weights_sha256},
        }
    fit = FitResult.model_validate(result)
    return {
        "parameters": fit.parameters,
        "losses": fit.losses,
        "seconds": fit.seconds,
        "artefacts": {"weights": fit.weights_sha256},
    }


def _macro_dice(fold: FoldResult) -> float | None:
    """Return the mean macro Dice over a fold's test subjects, sections of one averaged first; None where none has a
    value. Leaderboard, audit and trials average in the same way."""
    return mean_over_subjects((r.subject, r.value) for r in fold.rows if (r.metric, r.class_) == ("dice", MACRO))
