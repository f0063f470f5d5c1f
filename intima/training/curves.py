"""The training loss of one run, thinned so that it fits a row of the ledger."""

from intima.contracts.benchmark import LossPoint

MOST_POINTS = 100


class LossCurve:
    """Takes the loss of every step; keeps them in order."""

    def __init__(self) -> None:
        self._losses: list[tuple[int, float]] = []

    def add(self, step: int, loss: float) -> None:
        """Note the loss of a step, counted from 1."""
        self._losses.append((step, loss))

    def points(self) -> tuple[LossPoint, ...]:
        """Return at most ``MOST_POINTS`` evenly spaced steps, the first and the last among them, to six digits."""
        count = len(self._losses)
        if count <= MOST_POINTS:
            kept = self._losses
        else:
            kept = [self._losses[round(i * (count - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]
        return tuple(LossPoint(step=step, loss=float(f"{loss:.6g}")) for step, loss in kept)
