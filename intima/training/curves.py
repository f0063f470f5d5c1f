"""The training loss of one run, and its scores at rungs, thinned so that it fits a row of the ledger."""

from intima.arrays import Json
from intima.contracts.benchmark import LossPoint
from intima.contracts.experiment import LiveCurves
from intima.contracts.search import CurvePoint
from intima.store.work import Report, show_curves

MOST_POINTS = 100


class TrainingCurves:
    """Takes the loss of every step, and scores at rungs; keeps them in order and shows them as they come."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._losses: list[tuple[int, float]] = []
        self._scores: list[CurvePoint] = []

    def add(self, step: int, loss: float) -> None:
        """Note the loss of a step, counted from 1."""
        self._losses.append((step, loss))
        show_curves(self._report, self._shown)

    def judged(self, score: CurvePoint) -> None:
        """Note a score."""
        self._scores.append(score)

    @property
    def scores(self) -> tuple[CurvePoint, ...]:
        """The scores so far."""
        return tuple(self._scores)

    def _shown(self) -> Json:
        return LiveCurves(losses=self.points(), curve=self.scores).model_dump(mode="json")

    def points(self) -> tuple[LossPoint, ...]:
        """Return at most ``MOST_POINTS`` evenly spaced steps, the first and the last among them, to six digits."""
        count = len(self._losses)
        if count <= MOST_POINTS:
            kept = self._losses
        else:
            kept = [self._losses[round(i * (count - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]
        return tuple(LossPoint(step=step, loss=float(f"{loss:.6g}")) for step, loss in kept)
