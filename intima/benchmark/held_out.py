"""What the test cases of folds say of uncertainty: gathered in each fold, pooled when its model is published."""

from collections.abc import Sequence

from intima.architectures.net import SegmentationNet
from intima.benchmark.recipe import Recipe
from intima.contracts.benchmark import FoldResult
from intima.contracts.dataset import label_schema
from intima.contracts.evidence import HeldOutCase, OutOfFoldEvidence
from intima.contracts.segmentation import UncertaintySpec
from intima.evidence import Measured, pool_evidence
from intima.held_out import measure_cases
from intima.store.storage import Storage
from intima.store.work import Report
from intima.training.loop import as_predict
from intima.training.scoring import Tiling
from intima.uncertainty import plan_passes, stack_passes


def gather_held_out(
    storage: Storage, recipe: Recipe, net: SegmentationNet, *, cases: Sequence[str], report: Report
) -> tuple[HeldOutCase, ...]:
    """Return what cases say that a net has not seen, each by the passes of the default sampler.

    Raises:
        Invalid: the net has diverged.
    """
    _, passes = plan_passes(UncertaintySpec(), members=1)
    predict = stack_passes([as_predict(net)], passes)
    schema, tiling = label_schema(recipe.dataset.classes), Tiling.of(recipe.study.architecture)
    by_name = {c.case: c for c in recipe.dataset.cases}
    found = measure_cases(
        storage,
        [by_name[name] for name in cases],
        predict=predict,
        schema=schema,
        resolution=recipe.resolution,
        tile_px=tiling.tile_px,
        halo_px=tiling.halo_px,
    )
    gathered: list[HeldOutCase] = []
    for case in found:
        gathered.append(case)
        report(1.0, f"uncertainty of {len(gathered)}/{len(cases)} cases measured")
    return tuple(gathered)


def pool_folds(folds: Sequence[FoldResult]) -> OutOfFoldEvidence | None:
    """Return the evidence of the folds of one contender; None where they gathered none.

    Of several protocols the one whose nets saw most subjects counts, being nearest to the published model; of its
    repeats and seeds all, as further sections of their subjects.
    """
    with_evidence = [fold for fold in folds if fold.evidence and fold.rows]
    if not with_evidence:
        return None
    seen: dict[str, list[int]] = {}
    for fold in with_evidence:
        seen.setdefault(fold.rows[0].protocol, []).append(fold.train_subjects)
    chosen = max(sorted(seen), key=lambda protocol: sum(seen[protocol]) / len(seen[protocol]))
    counted = [fold for fold in with_evidence if fold.rows[0].protocol == chosen]
    return pool_evidence(
        [case for fold in counted for case in fold.evidence],
        Measured(
            basis="out-of-fold",
            protocol=chosen,
            selection_biased=any(row.selection_biased for fold in counted for row in fold.rows),
            members=1,
        ),
    )
