"""Reports of comparisons, rankings and benchmarks, out of what the answers hold."""

from intima.comparison.reporting.benchmarks import report_benchmark
from intima.comparison.reporting.comparisons import report_comparison
from intima.comparison.reporting.rankings import report_ranking

__all__ = ["report_benchmark", "report_comparison", "report_ranking"]
