"""Time of a full ranking report, and how many times a bare Friedman test that is.

``python -m bench rankings [--models 6 20 100] [--subjects 9 100 1000]``: SIMULATED scores; CPU seconds on one thread
of ``rank_models`` with all pairs, 10,000 resamples (all 24,310 at nine subjects), null and tiers, and of its report as
HTML and PDF; once each, after a warm-up.
"""

import argparse
import sys
import time

import numpy as np
from scipy import stats

from intima.comparison.ranking import rank_models
from intima.comparison.reporting import report_ranking
from intima.comparison.table import BenchmarkTable
from intima.contracts.statistics import Ranking, RankingRequest
from intima.reports import FORMATS, ReportFormat, write_report


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[6, 20, 100])
    parser.add_argument("--subjects", type=int, nargs="+", default=[9, 100, 1_000])
    arguments = parser.parse_args()
    ranking, _ = ranked(scores(9, 3))
    for form in FORMATS:
        write(ranking, form)
    print(f"{'models':>7}{'subjects':>10}{'pairs':>7}{'ranking s':>10}{'of friedman':>13}{'html s':>8}{'pdf s':>8}")
    for models in arguments.models:
        for subjects in arguments.subjects:
            table = scores(subjects, models)
            ranking, took = ranked(table)
            bare, written = friedman(table), [write(ranking, form) for form in FORMATS]
            pairs = models * (models - 1) // 2
            print(
                f"{models:>7}{subjects:>10}{pairs:>7}{took:>10.2f}{took / bare:>12.0f}x"
                + "".join(f"{s:>8.1f}" for s in written),
                flush=True,
            )
    return 0


def scores(subjects: int, models: int) -> np.ndarray:
    """Return simulated scores."""
    random = np.random.default_rng([subjects, models])
    return np.asarray(random.normal(0.85, 0.06, (subjects, 1)) + random.normal(0, 0.03, (subjects, models)))


def write(ranking: Ranking, form: ReportFormat) -> float:
    """Return CPU seconds of a report."""
    started = time.process_time()
    write_report(report_ranking(ranking), form)
    return time.process_time() - started


def ranked(table: np.ndarray) -> tuple[Ranking, float]:
    """Return a ranking and its CPU seconds."""
    subjects, models = table.shape
    names = {"models": [f"model {i}" for i in range(models)], "subjects": [f"m{i}" for i in range(subjects)]}
    request = RankingRequest.model_validate({"scores": table.tolist()} | names)
    started = time.process_time()
    ranking = rank_models(request, fetch_table=lambda _: BenchmarkTable(b""))
    return ranking, time.process_time() - started


def friedman(table: np.ndarray) -> float:
    """Return CPU seconds of scipy's Friedman test."""
    started = time.process_time()
    for _ in range(20):
        stats.friedmanchisquare(*table.T)
    return (time.process_time() - started) / 20


if __name__ == "__main__":
    sys.exit(main())
